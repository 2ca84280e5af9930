"""The tuner: numbers only, within their domains, never twice, better than chance."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import pytest
from simulated import (
    NOISE,
    NUMBERS,
    ROOT,
    TUNED,
    WHOLE_NUMBERS,
    Campaign,
    values,
)

from agent import edits
from agent.edits.blocks import render
from agent.edits.constants import Range, constants, set_constants
from agent.proposers.axes import MIN_STEP, tunable
from agent.proposers.base import NothingToPropose, Proposal
from agent.proposers.tuner import MOST, REACH, Measured, Tuner, measured


@dataclass(frozen=True)
class Asked:
    """One ask of the tuner: the champion it was asked on, and the candidate."""

    champion: str
    candidate: str

    @property
    def changed(self) -> dict[str, Any]:
        old, new = values(self.champion), values(self.candidate)
        return {name: new[name] for name in old if old[name] != new[name]}


def asks(campaign: Campaign, category: str, count: int, *, seed: int = 0) -> list[Asked]:
    """Up to ``count`` asks, a new tuner each, with verdicts drawn at random."""
    dice, asked = random.Random(seed), []
    while len(asked) < count and Tuner().covers(campaign.context(category)):
        proposal, candidate = campaign.ask(Tuner(), category)
        assert proposal.proposer == "tuner"
        asked.append(Asked(campaign.source, candidate))
        gain = dice.choice([None, *(dice.gauss(-1, 2) for _ in range(9))])
        campaign.conclude(category, proposal, gain, keep=gain is not None and gain > 2)
    return asked


def assert_only_few_constants(category: str, asked: list[Asked]) -> None:
    """Each candidate differs from its champion in a few constants, one of them of the category's
    section, all within their domains, and in nothing else."""
    for ask in asked:
        known = {c.name: c for c in constants(ask.champion) if c.domain}
        assert 1 <= len(ask.changed) <= MOST
        assert category in {known[name].section for name in ask.changed}
        for name, value in ask.changed.items():
            domain = known[name].domain
            if isinstance(domain, Range):
                assert domain.low <= value <= domain.high
                assert isinstance(value, int) or not domain.integer
            else:
                assert domain is not None
                assert value in domain.options
        pairs = zip(ask.champion.split("\n"), ask.candidate.split("\n"), strict=True)
        lines = {number for number, (old, new) in enumerate(pairs, 1) if old != new}
        assert lines == {known[name].line for name in ask.changed}


@pytest.mark.parametrize("category", TUNED)
def test_the_tuner_changes_few_constants_within_their_domains(
    category: str,
) -> None:
    asked = asks(Campaign(seed=1), category, 6)
    assert_only_few_constants(category, asked)
    assert len(asked) >= 5


@pytest.mark.process
@pytest.mark.parametrize("source", [NUMBERS, WHOLE_NUMBERS], ids=["real", "whole"])
def test_the_tuner_never_repeats_itself(source: str) -> None:
    asked = asks(Campaign(source, seed=1), "hyperparameters", 60)
    assert_only_few_constants("hyperparameters", asked)
    assert any(a.champion != b.champion for a, b in itertools.pairwise(asked)), "none was kept"
    points = [source, *(ask.candidate for ask in asked)]
    assert len({tuple(values(point).items()) for point in points}) == 61


def test_no_step_is_longer_than_the_reach_or_too_short_to_see() -> None:
    for ask in itertools.chain.from_iterable(
        asks(Campaign(NUMBERS, seed=seed), "hyperparameters", 6) for seed in range(4)
    ):
        for name, value in ask.changed.items():
            old = values(ask.champion)[name]
            if name in LOG_RANGES:
                low, high = LOG_RANGES[name]
                step = abs(math.log(value / old)) / math.log(high / low)
                assert MIN_STEP <= step <= REACH + 1e-9
            elif name == "D":  # of four options the next one is a third of the range away
                assert value in {4: (8,), 8: (4, 16), 16: (8, 32), 32: (16,)}[old]


@pytest.mark.parametrize(
    ("section", "joint", "changes"),
    [("schedule", True, True), ("schedule", False, False), ("no category", True, False)],
)
def test_constants_of_other_categories_change_with_the_category_s_unless_they_may_not(
    section: str, joint: bool, changes: bool
) -> None:
    campaign, found = Campaign(NUMBERS.replace("=== other", f"=== {section}")), set()
    for _ in range(12):
        proposal, candidate = campaign.ask(Tuner(joint=joint), "hyperparameters")
        found |= Asked(campaign.source, candidate).changed.keys()
        campaign.conclude("hyperparameters", proposal, -1.0, keep=False)
    assert ("G" in found) == changes


def test_the_reply_says_what_and_why() -> None:
    campaign = Campaign("# === schedule ===\nX = 0.5  # of the budget; range 0..1\n")
    edit = edits.parse(campaign.ask(Tuner(), "schedule")[0].reply)
    assert edit.category == "schedule"
    assert edit.title.startswith("X 0.5 → 0.")
    assert "of the budget" in edit.hypothesis
    assert "point:" not in edit.hypothesis + edit.title


def test_points_that_were_written_below_the_reply_are_still_read() -> None:
    source = "# === schedule ===\nX = 0.5  # range 0..1\n"
    campaign = Campaign(source)
    proposal, _ = campaign.ask(Tuner(), "schedule")
    point = json.loads(json.dumps(proposal.data))
    assert point["before"] == {"X": 0.5} and point["after"]["X"] != 0.5
    old = replace(proposal, reply=f"{proposal.reply}\npoint: {json.dumps(point)}\n", data={})
    found = []
    for recorded in (proposal, old):
        told = Campaign(source)
        told.conclude("schedule", recorded, -1.0, keep=False)
        found.append(measured(told.context("schedule")))
    assert found[0] == found[1] and len(found[0]) == 1


def test_a_section_of_choices_is_used_up() -> None:
    campaign = Campaign("# === schedule ===\nX = 1  # choice 1 2\nY = 'a'  # choice a b c\n")
    found = [tuple(values(a.candidate).values()) for a in asks(campaign, "schedule", 50)]
    assert len(found) == len(set(found)) == 5
    with pytest.raises(NothingToPropose):
        Tuner().propose(campaign.context("schedule"))


def test_choices_that_are_always_turned_down_are_used_up_too() -> None:
    campaign = Campaign("# === schedule ===\nX = 1  # choice 1 2 3\n")
    assert Tuner().covers(campaign.context("schedule"))
    campaign.reject("schedule", "tuner", 2)
    assert not Tuner().covers(campaign.context("schedule"))


def test_only_constants_with_a_domain_are_tuned() -> None:
    source = "# === schedule ===\nX = 1  # a number\n# === other ===\nY = 1.0  # range 0..2\n"
    campaign = Campaign(source)
    assert not Tuner().covers(campaign.context("schedule"))
    assert not Tuner().covers(campaign.context("simplification"))
    assert Tuner().covers(campaign.context("other"))
    with pytest.raises(NothingToPropose):
        Tuner().propose(campaign.context("schedule"))


def test_another_attempt_is_another_point() -> None:
    campaign = Campaign(NUMBERS)
    contexts = [campaign.context("hyperparameters", feedback=("no",) * n) for n in range(3)]
    assert len({Tuner().propose(context).reply for context in contexts}) == 3


def test_other_seeds_give_other_points() -> None:
    contexts = [Campaign(NUMBERS, seed=seed).context("hyperparameters") for seed in range(8)]
    assert len({Tuner().propose(context).reply for context in contexts}) > 4


def test_a_resumed_campaign_asks_for_the_same_points() -> None:
    """All that is left after a kill is the journal: the first part of its events."""
    whole = Campaign(NUMBERS, seed=5)
    expected = asks(whole, "hyperparameters", 25, seed=2)
    for begun in (3, 12, 24):
        ends = [i for i, e in enumerate(whole.events) if e["event"] == "verdict"]
        resumed = Campaign(expected[begun].champion, seed=5)
        resumed.events = whole.events[: ends[begun] + 1]
        assert resumed.ask(Tuner(), "hyperparameters")[1] == expected[begun].candidate


def test_domains_that_were_edited_do_not_stop_the_tuner() -> None:
    campaign = Campaign(NUMBERS)
    asks(campaign, "hyperparameters", 20)
    edited = (
        campaign.source.replace("choice relu gelu silu", "choice relu elu")
        .replace("range 0.01..3 log", "range 0.001..1")
        .replace("choice 4 8 16 32", "choice 8 64")
        .replace("# layers; range 1..8 int", "# layers")
    )
    assert edited != campaign.source
    campaign.source = edited
    asked = asks(campaign, "hyperparameters", 20)
    assert len(asked) == 20
    for ask in asked:
        assert "E" not in ask.changed
        assert ask.changed.get("D", 8) in (8, 64)
        assert ask.changed.get("F", "elu") in ("relu", "elu")


def test_a_champion_outside_its_domain_is_brought_back() -> None:
    source = (
        "# === schedule ===\nX = 9.0  # range 0..1\nY = 0.0  # range 0.1..1 log\n"
        "Z = 5  # choice 1 2\nW = 3  # choice 7\n"
    )
    for ask in asks(Campaign(source), "schedule", 12):
        assert 0 <= ask.changed.get("X", 0) <= 1
        assert 0.1 <= ask.changed.get("Y", 0.1) <= 1
        assert ask.changed.get("Z", 1) in (1, 2)
        assert ask.changed.get("W", 7) == 7


@pytest.mark.parametrize(
    ("constant", "wanted"),
    [
        ("3  # range 1..200", {*range(1, 201)} - {3}),
        ("3  # range 1..400", {*range(1, 401)} - {3}),
        ("400  # range 64..1024 int", {64, 128, 256, 512, 1024, 100, 200, 500, 900}),
        ("300  # range 64..1024 log int", {64, 128, 256, 512, 1024, 80, 100, 200, 400}),
        ("3  # range 1..100000 log int", {2**k for k in range(17)}),
        ("1000500  # range 1000000..1001000 int", {1000000, 1000100, 1000250, 1001000}),
        ("0.5  # range 0..1", {0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0}),
        ("0.3  # range 0.0005..0.1 log", {0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05}),
    ],
)
def test_round_numbers_and_small_whole_ones_are_proposed(constant: str, wanted: set[float]) -> None:
    (axis,) = tunable(f"# === schedule ===\nX = {constant}\n", "schedule")
    assert wanted <= set(axis.others)
    assert list(axis.others) == sorted(axis.others)


def test_a_lone_range_is_used_up_in_the_end() -> None:
    campaign = Campaign("# === schedule ===\nX = 0.5  # range 0..1\n")
    (axis,) = tunable(campaign.source, "schedule")
    found = []
    while Tuner().covers(campaign.context("schedule")):
        proposal, candidate = campaign.ask(Tuner(), "schedule")
        found.append(values(candidate)["X"])
        campaign.conclude("schedule", proposal, -1.0, keep=False)
    assert sorted(found) == list(axis.others)


def test_what_was_measured_is_read_as_differences() -> None:
    campaign, points = Campaign("# === schedule ===\nX = 0.5  # range 0..1\n"), [0.5]
    ends = ((-1.0, False), (3.0, True), (None, False), (-2.0, False))
    for gain, keep in ends:
        proposal, candidate = campaign.ask(Tuner(), "schedule")
        points.append(values(candidate)["X"])
        campaign.conclude("schedule", proposal, gain, keep)
    befores = [points[0], points[0], points[2], points[2]]
    for (gain, _), before, after, found in zip(
        ends, befores, points[1:], measured(campaign.context("schedule")), strict=True
    ):
        assert (found.before, found.after) == ({"X": before}, {"X": after})
        assert found.error is (None if gain is None else NOISE["structure"])
        assert gain is None or found.difference == pytest.approx(gain * NOISE["structure"])


def test_where_a_training_failed_no_value_as_far_is_proposed_again() -> None:
    """The constant that is farthest from what has scored is blamed, and others stay free."""
    source = "# === schedule ===\nX = 0.5  # range 0..1\nY = 0.5  # range 0..1\n"
    for avoids, is_there in ((True, False), (False, True)):
        campaign = Campaign(source)
        _told(campaign, {"X": 0.55}, 1.0)
        _told(campaign, {"X": 0.6, "Y": 0.7}, None)
        asked = [
            Asked(source, campaign.ask(Tuner(avoids=avoids), "schedule", trial=number)[1])
            for number in range(3, 40)
        ]
        assert any(ask.changed.get("Y", 0) >= 0.7 for ask in asked) == is_there
        assert any(ask.changed.get("Y", 1) <= 0.4 for ask in asked)
        assert any(ask.changed.get("X", 0) >= 0.6 for ask in asked)


def _told(campaign: Campaign, point: dict[str, Any], gain: float | None, by: str = "tuner") -> None:
    blocks = set_constants(campaign.source, point)
    reply = render("schedule", "told.", blocks, title=str(point))
    data = {"before": values(campaign.source), "after": point} if by == "tuner" else {}
    campaign.conclude("schedule", Proposal(by, reply, data=data), gain, keep=False)


@pytest.mark.parametrize(
    ("hunks", "gain", "heard"),
    [
        (("number:1",), 2.0, True),
        (("number:1", "code:2"), 2.0, False),
        (("number:1",), None, False),  # a failure of somebody else
        ((), 2.0, False),
    ],
)
def test_numbers_that_others_have_tried_are_learnt_from(
    hunks: tuple[str, ...], gain: float | None, heard: bool
) -> None:
    campaign = Campaign("# === schedule ===\nX = 0.5  # of the budget; range 0..1\n")
    _told(campaign, {"X": 0.7}, gain, by="llm")
    context = campaign.context("schedule")
    history = [replace(trial, hunks=hunks) for trial in context.history]
    learnt = Measured({"X": 0.5}, {"X": 0.7}, 2 * NOISE["structure"], NOISE["structure"], False)
    assert measured(replace(context, history=history)) == ([learnt] if heard else [])


LOG_RANGES = {"A": (0.01, 3.0), "B": (0.0005, 0.1)}
OPTIMUM = {"A": 0.25, "B": 0.75, "C": 0.7, "D": 2 / 3, "E": 4 / 7}
"""Places on each constant's own scale, in [0, 1]."""


def loss(source: str) -> float:
    """Above the optimum, in units of the noise; a quadratic."""
    v = values(source)
    place = {n: math.log(v[n] / a) / math.log(b / a) for n, (a, b) in LOG_RANGES.items()}
    place |= {"C": v["C"], "D": (4, 8, 16, 32).index(v["D"]) / 3, "E": (v["E"] - 1) / 7}
    return 60 * sum((place[name] - best) ** 2 for name, best in OPTIMUM.items())


def by_chance(dice: random.Random) -> dict[str, Any]:
    point: dict[str, Any] = {n: a * (b / a) ** dice.random() for n, (a, b) in LOG_RANGES.items()}
    return point | {
        "C": dice.random(),
        "D": dice.choice((4, 8, 16, 32)),
        "E": dice.randint(1, 8),
        "F": dice.choice(("relu", "gelu", "silu")),
    }


def champion_after(trials: int, seed: int, *, tuned: bool) -> float:
    """Loss of the champion after a campaign with noise, kept on two looks."""
    dice, campaign = random.Random(seed), Campaign(NUMBERS, seed=seed)
    for _ in range(trials):
        if tuned:
            proposal = Tuner().propose(campaign.context("hyperparameters"))
        else:
            blocks = set_constants(campaign.source, by_chance(dice))
            proposal = Proposal("chance", render("hyperparameters", "chance.", blocks))
        candidate = edits.parse(proposal.reply).apply(campaign.source)
        gain = loss(campaign.source) - loss(candidate)
        screened, confirmed = gain + dice.gauss(0, 1), gain + dice.gauss(0, 0.6)
        keep = screened > 0 and confirmed > 1
        campaign.conclude("hyperparameters", proposal, confirmed if keep else screened, keep)
    return loss(campaign.source)


@pytest.mark.process
def test_the_tuner_beats_random_search() -> None:
    tuned = statistics.mean(champion_after(25, seed, tuned=True) for seed in range(6))
    chance = statistics.mean(champion_after(25, seed, tuned=False) for seed in range(6))
    assert tuned < 0.6 * chance
    assert tuned < 0.3 * loss(NUMBERS)


@pytest.mark.process
def test_no_heavy_package_is_loaded() -> None:
    script = (
        "import sys; sys.path[:0] = ['tests/agent', 'tests/agent/proposers']\n"
        "import test_tuner as t; t.asks(t.Campaign(t.NUMBERS), 'hyperparameters', 3)\n"
        "print({'optuna', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
