"""Whole campaigns with a notebook and without, from recorded replies; a near miss tried again.

The trainings are stood in for.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from replies import block, book
from staged import Score, answer, audits

from agent import loop
from agent.campaign import notebook as notebooks
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.models.cassette import Player, Recorder
from agent.models.types import Prompt, Usage
from agent.models.types import Reply as ModelReply
from agent.proposers.llm import LLMProposer
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import Measurement

PLACE = "    session.ready()\n"


@dataclasses.dataclass
class Scripted:
    """A model whose edits are given, in the category asked for; and its notebooks."""

    edits: list[str]
    name: str = "openai:scripted"
    asked: list[Prompt] = dataclasses.field(default_factory=list)

    def complete(self, prompt: Prompt, **_: Any) -> ModelReply:
        self.asked.append(prompt)
        usage = Usage(len(prompt.text) // 4, 100)
        if prompt.parts[-1].name == "notebook":
            return ModelReply(book(f"up to trial {prompt.trial}"), "end", usage, "m")
        category = re.findall(r"in the category \*\*([\w -]+)\*\*", prompt.text)[-1]
        head = f"category: {category}\nhypothesis: it may help\n"
        return ModelReply(head + self.edits.pop(0), "end", usage, "m")


def named(name: str, place: str = PLACE) -> str:
    return f"title: the idea {name}\n" + block(place, f"{place}    {name} = 1\n    del {name}\n")


def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """``better`` edits are better, ``near`` ones a little, with another luck in each heat."""

    def score(source: str, seed: int) -> Score:
        luck = 0.004 * (seed % 3 - 1)
        gain = 0.05 * source.count("    del better")
        return 1.5 - gain - (0.002 + luck if "    del near" in source else 0.0)

    answer(monkeypatch, score)
    measured = measure.heat

    def heat(
        sources: Sequence[str],
        *,
        seed: Sequence[int],
        weights_to: Sequence[Path | None] | None = None,
        **how: Any,
    ) -> list[Measurement]:
        for path, own in zip(weights_to or [], seed, strict=False):
            if path is not None:  # for the audit
                path.write_bytes(str(own).encode())
        return measured(sources, seed=seed, **how)

    monkeypatch.setattr(measure, "heat", heat)
    audits(monkeypatch, bound=0.0)


def test_a_near_miss_is_offered_again_and_may_be_tried_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch)
    runtime.settings = runtime.settings.model_copy(update={"nulls": 0.0})
    near = named("near", "    loss = None\n")
    model = Scripted([near, named("better"), near])
    runtime.proposer = LLMProposer(model)
    loop.baseline(runtime)
    for _ in range(3):
        loop.one_trial(runtime)
    first, kept, again = runtime.campaign.state.trials[1:]
    assert (first.verdict, kept.verdict) == ("revert", "keep")
    assert first.gain and first.gain > 0
    focus = [prompt.parts[-1].text for prompt in model.asked]
    assert "Near misses" not in focus[0] + focus[1]
    assert f"trial 1, {first.credited}: the idea near" in focus[2]
    assert "kept since: trial 2\n" in focus[2]
    assert again.title == "the idea near" and not again.rejections and again.differences
    assert sorted(again.hunks) == sorted(first.hunks)


# --- with it and without it, by recorded replies


def campaign(
    runtime: Runtime, model: Any, trials: int, with_notebook: bool
) -> tuple[list[Prompt], State]:
    """A campaign of keeps and reverts by this model; the prompts that it asks, and its state."""
    asked: list[Prompt] = []
    complete = model.complete

    def note(prompt: Prompt, **how: Any) -> ModelReply:
        asked.append(prompt)
        return complete(prompt, **how)

    model.complete = note
    settings = {"nulls": 0.0, "keep": "greedy", "notebook": with_notebook}
    runtime.settings = runtime.settings.model_copy(update=settings)
    runtime.proposer = LLMProposer(model)
    loop.baseline(runtime)
    for _ in range(trials):
        loop.one_trial(runtime)
    return asked, runtime.campaign.state


@pytest.fixture
def another(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Runtime]]:
    """Further campaigns of the same repository."""
    made: list[Runtime] = []

    def begin(tag: str) -> Runtime:
        found = Campaign(runtime.campaign.repo, tag)
        found.begin(runtime.settings, {"device": "cpu"})
        found.reconcile()
        made.append(dataclasses.replace(runtime, campaign=found))
        return made[-1]

    yield begin
    for one in made:
        one.campaign.close()


def test_a_recorded_campaign_with_and_without_it(
    runtime: Runtime,
    another: Callable[[str], Runtime],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same replies, from one recording: what it costs, and that nothing else differs."""
    scored(monkeypatch)
    monkeypatch.setattr(notebooks, "KEEPS", 1)
    edits = [named(name) for name in ("better1", "worse", "better2", "better3")]
    tape, trials = tmp_path / "tape.jsonl", len(edits)
    _, recorded = campaign(runtime, Recorder(tape, Scripted(edits)), trials, True)
    runs = {
        name: campaign(another(name), Player(tape), trials, name == "with")
        for name in ("with", "without")
    }
    told = {}
    for name, (asked, state) in runs.items():
        calls = [prompt.parts[-1].name for prompt in asked]
        tokens = [len(prompt.text) // 4 for prompt in asked]
        told[name] = calls.count("focus"), calls.count("notebook"), sum(tokens)
        print(
            f"{name}: {told[name][0]} proposals, {told[name][1]} notebooks, about "
            f"{told[name][2]:,} tokens of prompts"
        )
        assert [t.verdict for t in state.trials] == [t.verdict for t in recorded.trials]
        assert [t.source_sha256 for t in state.trials] == [t.source_sha256 for t in recorded.trials]
    (proposals, notes, more), (same, none, less) = told["with"], told["without"]
    assert (proposals, same, none) == (trials, trials, 0)
    assert [t.kept for t in recorded.trials[1:]] == [True, False, True, True]
    assert notes == 2 and more > less
    assert runs["with"][1].notebook.text == recorded.notebook.text != ""


def test_a_recording_from_before_it_replays_without_it(
    runtime: Runtime,
    another: Callable[[str], Runtime],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored(monkeypatch)
    monkeypatch.setattr(notebooks, "KEEPS", 1)
    edits, tape = [named("better1"), named("better2"), named("worse")], tmp_path / "tape.jsonl"
    campaign(runtime, Recorder(tape, Scripted(edits)), 3, with_notebook=False)
    assert all("notebook" not in json.loads(line) for line in tape.read_text().splitlines())
    asked, state = campaign(another("again"), Player(tape), 3, with_notebook=True)
    assert [t.verdict for t in state.trials[1:]] == ["keep", "keep", "revert"]
    assert [prompt.parts[-1].name for prompt in asked].count("notebook") == 2
    assert state.notebook.text == ""
    assert "was not asked for when this was recorded" in " ".join(
        (tmp_path / "out.txt").read_text().split()
    )
