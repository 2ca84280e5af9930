"""Who proposes what, and what is asked for by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from simulated import PROGRAM, Campaign

from agent.proposers.base import Context, NothingToPropose, Proposal
from agent.proposers.choose import ProposerError, make
from agent.proposers.hybrid import Hybrid


@dataclass
class Only:
    """A proposer of certain categories, as a model's would be."""

    categories: tuple[str, ...]
    name: str = "llm"
    attempts: int = 7
    offered: int = 1

    def choices(self, trial: int) -> int:
        return self.offered

    def covers(self, context: Context) -> bool:
        return context.category in self.categories

    def propose(self, context: Context) -> Proposal:
        if not self.covers(context):
            raise NothingToPropose(context.category)
        return Proposal(self.name, "")


def test_hybrid_covers_what_either_does() -> None:
    hybrid = Hybrid(numbers=Only(("a", "b"), "tuner"), structure=Only(("b", "c")), seed=0)
    campaign = Campaign()
    covered = [name for name in "abcd" if hybrid.covers(campaign.context(name))]
    assert covered == ["a", "b", "c"]
    assert hybrid.attempts == 7
    assert hybrid.propose(campaign.context("a")).proposer == "tuner"
    assert hybrid.propose(campaign.context("c")).proposer == "llm"
    with pytest.raises(NothingToPropose):
        hybrid.propose(campaign.context("d"))


def test_hybrid_asks_either_once_in_two_trials() -> None:
    """So a run of two trials or more has asked the model that it was given."""
    campaign = Campaign()

    def proposers(seed: int) -> list[str]:
        hybrid = Hybrid(numbers=Only(("a",), "tuner"), structure=Only(("a",)), seed=seed)
        return [hybrid.propose(campaign.context("a", trial=n)).proposer for n in range(1, 41)]

    found = proposers(0)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert set(pairs) == {("llm", "tuner"), ("tuner", "llm")}
    assert proposers(0) == found != proposers(1)


def test_hybrid_lets_a_model_take_its_pick_where_a_model_is_asked_first() -> None:
    numbers, structure = Only(("a",), "tuner"), Only(("a",), offered=3)
    hybrid, campaign = Hybrid(numbers=numbers, structure=structure, seed=0), Campaign()
    for n in range(20):
        asked = hybrid.propose(campaign.context("a", trial=n)).proposer
        assert hybrid.choices(n) == {"llm": 3, "tuner": 1}[asked]


def test_hybrid_gives_an_idea_that_waited_back_to_its_model() -> None:
    hybrid = Hybrid(numbers=Only(("a",), "tuner"), structure=Only(("a",)), seed=0)
    contexts = [Campaign().context("a", trial=n) for n in range(20)]
    mended = [replace(one, feedback=("no",), proposer="llm") for one in contexts]
    assert {hybrid.propose(one).proposer for one in mended} == {"llm"}
    kept = [replace(one, feedback=("no",), proposer="tuner") for one in contexts]
    assert {hybrid.propose(one).proposer for one in kept} == {"llm", "tuner"}


@pytest.mark.process
def test_hybrid_without_a_model_is_deck_and_tuner() -> None:
    hybrid, campaign = make("hybrid", None, 4), Campaign()
    assert hybrid.name == "hybrid"
    assert all(hybrid.covers(campaign.context(name)) for name in PROGRAM.names)
    context = campaign.context("simplification")
    assert all(hybrid.propose(replace(context, trial=n)).proposer == "deck" for n in range(10))
    schedule = campaign.context("schedule")
    names = {hybrid.propose(replace(schedule, trial=n)).proposer for n in range(20)}
    assert names == {"deck", "tuner"}


def test_make_makes_what_was_asked_for() -> None:
    model = Only(("schedule",))
    assert make("llm", model, 0) is model
    assert [make(name, None, 0).name for name in ("deck", "tuner")] == ["deck", "tuner"]
    names = {
        make("hybrid", model, 0).propose(Campaign().context("schedule", trial=n)).proposer
        for n in range(20)
    }
    assert names == {"llm", "tuner"}


def test_make_says_what_is_wrong() -> None:
    with pytest.raises(ProposerError, match=r"ANTHROPIC_API_KEY.*--llm"):
        make("llm", None, 0)
