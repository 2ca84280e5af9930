"""Try real models with your own keys: what the tests can only try against a server on loopback.

    python examples/check_models.py                     # the default model of each key that is set
    python examples/check_models.py anthropic:claude-haiku-5-5 openai:gpt-6-luna

Each model gets four requests of some 3,000 to 25,000 tokens: cents for a small model. Checked is
that a reply arrives as a stream, ends by itself and is counted; that the second prompt of the same
beginning comes out of a cache; that a reply cut off at its limit is known as such; that the whole
prompt is read; and that the price is known. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from agent.models.base import Model, ModelError, Part, Prompt, Reply
from agent.models.canary import cut_short, filling
from agent.models.catalog import load
from agent.models.choose import open_model

BEGINNING = 12_000
"""Characters that both prompts share; shorter ones are not cached everywhere."""
ROOM = 4_000
KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}


def prompt(question: str) -> Prompt:
    beginning = "You are terse.\n" + filling(BEGINNING, 0)
    return Prompt((Part("rules", beginning, mark=True), Part("focus", question)))


def checks(model: Model) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it holds, and what was seen."""
    heard: list[str] = []
    reply = model.complete(prompt("Count from 1 to 40."), max_tokens=ROOM, on_text=heard.append)
    yield "streams", len(heard) > 1 and "".join(heard) == reply.text, f"{len(heard)} pieces"
    yield "ends by itself", reply.stop_reason == "end", _end(reply)
    usage = reply.usage
    yield "is counted", usage is not None and usage.output > 0, str(usage)
    cost = load(os.environ).cost(usage, model.name)
    yield "has a price", cost is not None, "unknown" if cost is None else f"${cost:.5f}"

    again = model.complete(prompt("Count from 40 down to 1."), max_tokens=ROOM)
    cached = again.usage.cache_read if again.usage is not None else 0
    yield "caches the beginning", cached > 0, f"{cached} tokens out of a cache"

    short = model.complete(prompt("Count from 1 to 4000, all numbers."), max_tokens=64)
    yield "a cut reply is known", short.stop_reason == "length", _end(short)

    fault = cut_short(model)
    yield "reads it all", not fault, fault or "knows how a long prompt began"


def _end(reply: Reply) -> str:
    return f"{reply.stop_reason} {reply.detail}".strip()


def main(specs: list[str], say: Callable[[str], object] = print) -> int:
    """Check each; returns the exit status."""
    specs = specs or [spec for spec, key in KEYS.items() if os.environ.get(key)]
    specs = [spec if ":" in spec else f"{spec}:{load(os.environ).defaults[spec]}" for spec in specs]
    if not specs:
        say(f"no model to check: name one, or set {' or '.join(KEYS.values())}")
        return 1
    failed = 0
    for spec in specs:
        try:
            model, _ = open_model(spec, os.environ)
            if model is None:
                raise ModelError(f"{spec} is no model")
            for name, holds, seen in checks(model):
                failed += not holds
                say(f"{'ok  ' if holds else 'FAIL'}  {spec}: {name}: {seen}")
        except ModelError as error:
            failed += 1
            say(f"FAIL  {spec}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
