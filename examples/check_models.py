"""Try real models with your own keys: what the tests can only try against a server on loopback.

    python examples/check_models.py                     # the default model of each key that is set
    python examples/check_models.py anthropic:claude-haiku-5-5 openai:gpt-6-luna
    python examples/check_models.py "command:python3 examples/stub_agent.py"

Each model gets five requests of some 6,000 to 25,000 tokens: cents for a small model. Checked is
that a reply ends by itself and is counted; that the second prompt of the same beginning comes out
of a cache; that a reply cut off at its limit is known as such; that the whole prompt is read; that
the price is known; and that the edit it proposes, asked as a campaign asks, applies to train.py.
The exit status is 1 if a check fails. Of a server of your own (openai:MODEL@URL) cache and price
are noted only. A program (command:CMD) is asked for the edit only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.edits import blocks
from agent.models.cassette import Player, Recorder
from agent.models.catalog import load_catalog
from agent.models.choose import open_model
from agent.models.secrets import redact
from agent.models.types import Model, ModelError, Part, Prompt, Reply
from agent.program import ProgramError, load_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer
from agent.steps.doctor import cut_short, filling

ROOT = Path(__file__).parents[1]
BEGINNING = 24_000
"""Characters that both prompts share; shorter ones are not cached everywhere."""
ROOM = 4_000
WORDS = {True: "ok  ", False: "FAIL", None: "note"}
KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}


def prompt(question: str) -> Prompt:
    beginning = "You are terse.\n" + filling(BEGINNING, 0)
    return Prompt((Part("rules", beginning, mark=True), Part("focus", question)))


def checks(model: Model) -> Iterator[tuple[str, bool | None, str]]:
    """Name, whether it holds (None: either is fine), and what was seen."""
    if not model.name.startswith("command:"):
        yield from api_checks(model)
    why, title = proposes(model)
    yield "proposes an edit that applies", not why, why or title


def api_checks(model: Model) -> Iterator[tuple[str, bool | None, str]]:
    own_server = "@" in model.name
    reply = model.complete(prompt("Count from 1 to 40."), max_tokens=ROOM)
    yield "ends by itself", reply.stop_reason == "end", _end(reply)
    usage = reply.usage
    yield "is counted", usage is not None and usage.output > 0, str(usage)
    cost = load_catalog(os.environ).cost(usage, model.name)
    priced = "unknown" if cost is None else f"${cost:.5f}"
    yield "has a price", None if own_server else cost is not None, priced

    again = model.complete(prompt("Count from 40 down to 1."), max_tokens=ROOM)
    cached = again.usage.cache_read if again.usage is not None else 0
    seen = f"{cached} tokens out of a cache"
    yield "caches the beginning", None if own_server else cached > 0, seen

    short = model.complete(prompt("Count from 1 to 4000, all numbers."), max_tokens=64)
    yield "a cut reply is known", short.stop_reason == "length", _end(short)

    fault = cut_short(model)
    yield "reads it all", not fault, fault or "knows how a long prompt began"


def proposes(model: Model) -> tuple[str, str]:
    """Ask for an edit of train.py as the first trial of a campaign does: what is wrong with the
    reply, "" if the edit applies, and the edit's title."""
    research = load_program(ROOT / "program.md")
    context = Context(
        trial=1,
        category="hyperparameters",
        source=(ROOT / "trainer" / "train.py").read_text(encoding="utf-8"),
        program=research,
        history=(),
        prior={name: 1 / len(research.names) for name in research.names},
        noise={"numbers": 0.01, "structure": 0.02},
        seed=0,
        facts={"budget": "20 s", "hardware": "a processor with 2 cores"},
    )
    try:
        proposal = LLMProposer(model, ROOT / "prompts").propose(context)
        edit = blocks.parse(proposal.reply, proposal.envelope)
        edit.apply(context.source)
    except blocks.EditError as error:
        return str(error), ""
    return "", edit.title


def _end(reply: Reply) -> str:
    return f"{reply.stop_reason} {reply.detail}".strip()


def opened(spec: str) -> Model:
    """The model; for ``anthropic`` and ``openai`` alone, the default one.

    Raises:
        ModelError: there is none, or none that can be checked here.
    """
    default = load_catalog(os.environ).defaults.get(spec) if spec in KEYS else None
    model, _ = open_model(f"{spec}:{default}" if default else spec, os.environ)
    if model is None:
        raise ModelError(f"{spec} is no model")
    if model.name == "local" or isinstance(model, Player | Recorder):
        raise ModelError(
            "only models are checked that take long prompts, and no cassettes; "
            f"try python -m agent doctor --llm {redact(spec, ())}"
        )
    return model


def main(specs: list[str], say: Callable[[str], object] = print) -> int:
    """Check each; returns the exit status."""
    specs = specs or [spec for spec, key in KEYS.items() if os.environ.get(key)]
    if not specs:
        say(f"no model to check: name one, or set {' or '.join(KEYS.values())}")
        return 1
    failed = 0
    for spec in specs:
        shown = redact(spec, ())
        try:
            for name, holds, seen in checks(opened(spec)):
                failed += holds is False
                say(f"{WORDS[holds]}  {shown}: {name}: {seen}")
        except (ModelError, ProgramError) as error:
            failed += 1
            say(f"FAIL  {shown}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
