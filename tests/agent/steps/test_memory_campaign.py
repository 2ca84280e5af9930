"""What memory finds in a campaign, and again after a kill; the trainings are stood in for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from project import clone_without_model
from replies import block
from shown import status_text
from staged import audits, measured

from agent import loop
from agent.campaign.journal import read_events
from agent.campaign.state import fold
from agent.proposers.base import Context, Proposal
from agent.proposers.hybrid import Hybrid
from agent.proposers.memory.proposer import Memory
from agent.report.details import show_text
from agent.report.summary import status_json
from agent.steps.runtime import Runtime, Stopped
from trainer import measure
from trainer.measure import Measurement

pytestmark = pytest.mark.process
PLACE = "    session.ready()\n"
WORTH = {"one": 0.005, "two": 0.005, "three": 0.005, "four": 0.04}
TOGETHER = {("one", "two"): 0.03, ("three", "four"): 0.04}
"""What the marks of edits are worth in a file, each alone and two beside each other."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return clone_without_model(tmp_path)


@dataclass
class Script:
    """Proposes these edits, by number of the trial."""

    edits: Mapping[int, str]
    name: str = "deck"
    attempts: int = 1

    def choices(self, context: Context) -> int:
        return 1

    def covers(self, context: Context) -> bool:
        return context.category == "architecture" and context.trial in self.edits

    def propose(self, context: Context) -> Proposal:
        mark = self.edits[context.trial]
        head = f"title: {mark}\ncategory: architecture\nhypothesis: It may pay.\n"
        edit = block(PLACE, f"{PLACE}    {mark} = 0\n    del {mark}\n")
        return Proposal(self.name, head + edit)


def worth(source: str) -> float:
    there = {mark for mark in WORTH if f"    {mark} = 0\n" in source}
    beside = sum(more for pair, more in TOGETHER.items() if there.issuperset(pair))
    return sum(WORTH[mark] for mark in there) + beside


def heat(
    sources: Sequence[str],
    *,
    seed: Sequence[int],
    weights_to: Sequence[Path | None] | None = None,
    **options: Any,
) -> list[Measurement]:
    """In place of a heat's trainings, whose weights an audit wants to see."""
    for path, own in zip(weights_to or (), seed, strict=False):
        if path is not None:
            path.write_bytes(str(own).encode())
    pairs = zip(sources, seed, strict=True)
    return [measured(1.5 - worth(source), own) for source, own in pairs]


def hybrid() -> Hybrid:
    edits = Script({1: "one", 2: "two", 4: "three", 5: "four"})
    return Hybrid(Script({}, "tuner"), edits, 0, Memory())


def next_idea(runtime: Runtime) -> Proposal:
    """What the next trial will try, as a run finds it that knows the journal alone."""
    state = fold(read_events(runtime.campaign.journal.path))
    resumed = dataclasses.replace(runtime, proposer=hybrid())
    context = resumed.context(len(state.trials))
    context = replace(context, category="architecture", history=tuple(state.real))
    return resumed.proposer.propose(context)


def test_two_near_misses_are_combined_and_a_third_comes_back(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "heat", heat)
    audits(monkeypatch, bound=0.0)
    runtime.settings = runtime.settings.model_copy(update={"nulls": 0.0})
    runtime.proposer = hybrid()
    loop.baseline(runtime)
    campaign, expected = runtime.campaign, dict[int, Proposal]()
    for number in range(1, 7):
        if number in (3, 6):
            expected[number] = next_idea(runtime)
        loop.one_trial(runtime)
    trials = campaign.state.trials
    assert [t.verdict for t in trials[1:]] == ["revert", "revert", "keep", "revert", "keep", "keep"]
    assert [t.proposer for t in trials[3::3]] == ["memory"] * 2
    assert (trials[3].data["how"], trials[3].data["of"]) == ("combine", [1, 2])
    assert (trials[6].data["how"], trials[6].data["of"]) == ("comeback", [4])
    assert trials[6].title == trials[4].title == "three"
    assert "Trial 4 again" in trials[6].hypothesis and "trial 5" in trials[6].hypothesis
    champion = campaign.source(runtime.champion.commit)
    assert all(f"    {mark} = 0\n" in champion for mark in WORTH)
    for number, proposal in expected.items():
        assert trials[number].reply == proposal.reply, "a resumed run has the same idea"
        assert trials[number].data == proposal.data
    assert all(trials[n].level is not None for n in (3, 6)), "each is a test of its own"
    with pytest.raises(Stopped, match="no proposer has an untried idea left: name a model"):
        loop.one_trial(runtime)
    runtime.settings = runtime.settings.model_copy(update={"proposer": "deck"})
    with pytest.raises(Stopped, match="left: take --proposer hybrid, name"):
        loop.one_trial(runtime)
    status = status_json(campaign.state, "t", None, {})
    assert status["proposers"] == {"deck": 4, "memory": 2}
    assert "architecture" not in status["without_ideas"] and len(status["without_ideas"]) == 9
    assert "\nproposed  deck 4, memory 2" in status_text(campaign.state)
    assert "no untried idea, or closed: " in status_text(campaign.state)
    assert "memory, of trials 1 and 2, drawn with 100%" in show_text(
        campaign.state, 3, campaign.folder
    )
