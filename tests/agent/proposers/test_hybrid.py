"""Who proposes what, and what is asked for by name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from prompt_trials import PROMPTS, part
from simulated import NUMBERS, PROGRAM, Campaign

from agent.campaign.records import Trial
from agent.edits import blocks
from agent.learner import EPSILON
from agent.models.types import Prompt, Reply
from agent.proposers.base import Context, NothingToPropose, Proposal, Proposer
from agent.proposers.choose import ProposerError, make
from agent.proposers.hybrid import Hybrid
from agent.proposers.llm import LLMProposer
from agent.proposers.tuner import measured

NAMES = "tuner", "llm", "memory"


@dataclass
class Only:
    """A proposer of certain categories, as a model's would be."""

    categories: tuple[str, ...]
    name: str = "llm"
    attempts: int = 7
    offered: int = 1

    def choices(self, context: Context) -> int:
        return self.offered

    def covers(self, context: Context) -> bool:
        return context.category in self.categories

    def propose(self, context: Context) -> Proposal:
        if not self.covers(context):
            raise NothingToPropose(context.category)
        return Proposal(self.name, "")


def three(*categories: str, seed: int = 0, **offered: int) -> Hybrid:
    arms: list[Proposer] = [Only(categories, name, offered=offered.get(name, 1)) for name in NAMES]
    return Hybrid(arms[0], arms[1], seed, arms[2])


@dataclass
class Asked:
    """Trials of a hybrid, whose rewards are the test's."""

    pays: Callable[[str], float]
    hybrid: Hybrid = field(default_factory=lambda: three("schedule"))
    trials: list[Trial] = field(default_factory=list)

    def context(self) -> Context:
        history = (*Campaign().context("schedule").history, *self.trials)
        return Campaign().context("schedule", history=history, trial=len(history))

    def go_on(self, count: int) -> None:
        for _ in range(count):
            context = self.context()
            made = self.hybrid.propose(context)
            reward = self.pays(made.proposer)
            ended: dict[str, Any] = {"verdict": "keep" if reward > 0 else "revert", "status": "ok"}
            how: dict[str, Any] = {"proposer": made.proposer, "data": made.data, "reward": reward}
            self.trials.append(Trial(context.trial, "schedule", **how, **ended))

    def shares(self) -> dict[str, float]:
        return self.hybrid.prior(self.context().history).probabilities()


def test_hybrid_covers_what_any_does() -> None:
    hybrid = Hybrid(numbers=Only(("a", "b"), "tuner"), structure=Only(("b", "c")), seed=0)
    campaign = Campaign()
    covered = [name for name in "abcd" if hybrid.covers(campaign.context(name))]
    assert covered == ["a", "b", "c"]
    assert hybrid.attempts == 7
    assert hybrid.propose(campaign.context("a")).proposer == "tuner"
    assert hybrid.propose(campaign.context("c")).proposer == "llm"
    with pytest.raises(NothingToPropose):
        hybrid.propose(campaign.context("d"))


def test_each_is_asked_in_the_first_trials() -> None:
    """So a run of two or three trials has asked the model that it was given."""
    orders = set()
    for seed in range(20):
        asked = Asked(lambda name: -0.1, three("schedule", seed=seed))
        asked.go_on(3)
        orders.add(tuple(trial.proposer for trial in asked.trials))
    assert all(sorted(order) == sorted(NAMES) for order in orders) and len(orders) > 3


@pytest.mark.parametrize("paying", NAMES)
def test_who_pays_is_asked_more_often_but_never_alone(paying: str) -> None:
    asked = Asked(lambda name: 0.4 if name == paying else -0.1)
    shares = []
    for _ in range(40):
        asked.go_on(1)
        shares.append(asked.shares())
    assert shares[-1][paying] > 0.5
    assert all(min(one.values()) >= EPSILON / 3 - 1e-9 for one in shares)
    counts = Counter(trial.proposer for trial in asked.trials[20:])
    assert counts[paying] > 10


def test_equal_ones_stay_equal_enough() -> None:
    for seed in range(5):
        dice = random.Random(seed)
        asked = Asked(lambda name: dice.choice([0.5, *[-0.1] * 5]), three("schedule", seed=seed))  # noqa: B023
        asked.go_on(100)
        assert max(asked.shares().values()) < 0.9


def test_what_was_rejected_or_handed_in_is_no_evidence() -> None:
    asked = Asked(lambda name: -0.1)
    asked.go_on(6)
    known = asked.shares()
    gone: dict[str, Any] = {"verdict": "rejected", "reward": None}
    for told in (gone, {"submitted": {"name": "x"}, "reward": 0.9}):
        last = replace(asked.trials[-1], **told)
        asked.trials.append(replace(last, trial=len(asked.trials) + 1))
        assert asked.shares() == known


def test_a_new_hybrid_goes_on_as_the_old_one() -> None:
    asked = Asked(lambda name: 0.3 if name == "memory" else -0.05)
    for _ in range(8):
        asked.go_on(3)
        fresh = three("schedule")
        assert fresh.propose(asked.context()) == asked.hybrid.propose(asked.context())
        assert fresh.prior(asked.context().history).probabilities() == asked.shares()
    other = Asked(lambda name: -0.05, asked.hybrid)
    other.go_on(5)
    assert other.shares() == three("schedule").prior(other.context().history).probabilities()


def test_the_chances_that_are_recorded_are_those_of_the_draw() -> None:
    asked = Asked(lambda name: 0.4 if name == "llm" else -0.1)
    asked.go_on(12)
    context = asked.context()
    drawn = [asked.hybrid.propose(replace(context, trial=n)) for n in range(3000)]
    counts, chances = Counter(one.proposer for one in drawn), drawn[0].data["chances"]
    assert sum(chances.values()) == pytest.approx(1)
    assert all(abs(counts[name] / 3000 - chances[name]) < 0.03 for name in NAMES)
    two = Hybrid(Only(("schedule",), "tuner"), Only((), "llm"), 0, Only(("schedule",), "memory"))
    chances = two.propose(context).data["chances"]
    assert set(chances) == {"tuner", "memory"} and sum(chances.values()) == pytest.approx(1)


def test_a_model_takes_its_pick_where_a_model_is_asked_first() -> None:
    hybrid = three("schedule", llm=3)
    for n in range(20):
        context = Campaign().context("schedule", trial=n)
        asked = hybrid.propose(context).proposer
        assert hybrid.choices(replace(context, category="")) == {"llm": 3}.get(asked, 1)
    without = Hybrid(Only((), "tuner"), Only(("schedule",), offered=3), 0, Only((), "memory"))
    assert {without.choices(Campaign().context("", trial=n)) for n in range(9)} == {3}


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_that_was_turned_down_goes_back_to_its_proposer(name: str) -> None:
    hybrid = three("schedule")
    contexts = [Campaign().context("schedule", trial=n) for n in range(20)]
    mended = [replace(one, feedback=("no",), proposer=name) for one in contexts]
    assert {hybrid.propose(one).proposer for one in mended} == {name}


@pytest.mark.process
def test_hybrid_without_a_model_is_deck_tuner_and_memory() -> None:
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


# --- a model beside the tuner ---


@dataclass
class Setter:
    """A tuner that would set one constant."""

    name: str = "tuner"
    attempts: int = 1

    def choices(self, context: Context) -> int:
        return 1

    def covers(self, context: Context) -> bool:
        return context.category == "schedule"

    def propose(self, context: Context) -> Proposal:
        edit = [blocks.Block("WARMDOWN = 0.3\n", "WARMDOWN = 0.5\n")]
        why = "It pays to go up."
        return Proposal(self.name, blocks.render("schedule", why, edit, title="WARMDOWN 0.3 → 0.5"))


@pytest.mark.parametrize(("category", "is_told"), [("schedule", True), ("architecture", False)])
def test_a_model_is_told_what_the_tuner_would_set_next(category: str, is_told: bool) -> None:
    seen: list[Prompt] = []

    def complete(prompt: Prompt, **_: Any) -> Reply:
        seen.append(prompt)
        return Reply("an edit", "end", None, "")

    model: Any = SimpleNamespace(name="fake:m", complete=complete)
    hybrid = Hybrid(Setter(), LLMProposer(model, PROMPTS), seed=0)
    context = Campaign().context(category)
    asked: Sequence[Proposal] = [hybrid.propose(replace(context, trial=n)) for n in range(9)]
    assert "llm" in {one.proposer for one in asked}
    line = "would next set, in schedule: WARMDOWN 0.3 → 0.5. It pays to go up. Take that, change"
    assert {line in part(prompt, "focus") for prompt in seen} == {is_told}


def test_the_tuner_learns_of_a_constant_that_another_of_them_has_set() -> None:
    context = Campaign(NUMBERS).context("hyperparameters")
    edit = [blocks.Block("C = 0.5  # a share; range 0..1\n", "C = 0.6  # a share; range 0..1\n")]
    reply = blocks.render("hyperparameters", "More.", edit)
    how: dict[str, Any] = {"proposer": "llm", "data": {"chances": {"llm": 1.0}}, "reply": reply}
    ended: dict[str, Any] = {"verdict": "revert", "status": "ok", "difference": (0.002, 0.001)}
    past = Trial(1, "hyperparameters", hunks=("number:1",), gain=0.002, **how, **ended)
    (found,) = measured(replace(context, history=(*context.history, past)))
    assert (found.before, found.after) == ({"C": 0.5}, {"C": 0.6})
