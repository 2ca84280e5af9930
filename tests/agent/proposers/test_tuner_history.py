"""What the tuner reads in the history: differences, failures, refusals, what others have tried."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from simulated import NOISE, Asked, Campaign, values

from agent import edits
from agent.edits.blocks import render
from agent.edits.constants import set_constants
from agent.edits.locate import Block
from agent.proposers.base import NothingToPropose, Proposal
from agent.proposers.tuner import Measured, Tuner, measured, setting


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


def test_what_other_proposers_remember_of_their_trials_stops_nothing() -> None:
    """A local model's edit is a number, too; its data hold what it said."""
    campaign = Campaign("# === schedule ===\nX = 0.5  # range 0..1\n")
    reply = setting(campaign.context("schedule"), {"X": 0.7}, "point: {no json}")
    said = {"received": "{}"}
    for data in (said, {}):
        proposal = Proposal("llm", f"{reply}\npoint: {{no json}}\n", data=data)
        campaign.conclude("schedule", proposal, 2.0, keep=False)
    context = campaign.context("schedule")
    context = replace(context, history=[replace(t, hunks=("number:1",)) for t in context.history])
    assert [(one.before, one.after) for one in measured(context)] == [({"X": 0.5}, {"X": 0.7})] * 2
    assert Tuner().covers(context) and Tuner().propose(context)


@pytest.mark.parametrize(
    "code", ["Y = 1", "Y = 1  # the rate; range 1..9 int", "print(X)  # range 0..1"]
)
def test_an_edit_that_changes_more_than_stated_constants_is_not_put_down_to_these(
    code: str,
) -> None:
    source = f"# === schedule ===\nX = 0.5  # range 0..1\n{code}\n"
    campaign = Campaign(source)
    changed = source.replace("0.5", "0.7").replace("1\n", "2\n").replace("(X)", "(2 * X)")
    block = Block(source, changed)
    proposal = Proposal("llm", render("schedule", "told.", [block], title="told"))
    campaign.conclude("schedule", proposal, 2.0, keep=False)
    context = campaign.context("schedule")
    context = replace(context, history=[replace(t, hunks=("number:1",)) for t in context.history])
    assert len(measured(context)) == ("rate" in code)


def test_a_point_that_cannot_be_trained_counts_as_a_failure() -> None:
    """Out of memory in the two steps before a training: the trial has no training at all."""
    source = "# === schedule ===\nX = 0.5  # range 0..1\n"
    for reason, goes_on in (
        ("two trial steps failed: out of memory", False),
        ("already tried: the same program was trained", True),
    ):
        campaign = Campaign(source)
        reply = setting(campaign.context("schedule"), {"X": 0.6}, "why")
        at_once = campaign.context("schedule", feedback=(reason,), turned_down=(reply,))
        campaign.refuse("schedule", "tuner", reply, reason)
        found = [
            values(edits.parse(Tuner().propose(context).reply).apply(source))["X"]
            for number in range(2, 30)
            for context in (replace(at_once, trial=number), campaign.context("schedule"))
            for context in (replace(context, trial=number),)
        ]
        assert (max(found) > 0.6) == goes_on, reason
        assert min(found) < 0.5


def test_a_point_that_cannot_be_trained_uses_up_no_other() -> None:
    campaign = Campaign("# === schedule ===\nX = 2  # choice 1 2 3\n")
    reply = setting(campaign.context("schedule"), {"X": 3}, "why")
    campaign.refuse("schedule", "tuner", reply, "two trial steps failed: shapes")
    assert Tuner().covers(campaign.context("schedule"))
    assert values(campaign.ask(Tuner(), "schedule")[1])["X"] == 1


def test_a_failure_short_of_what_has_scored_closes_no_direction() -> None:
    source = "# === schedule ===\nX = 0.5  # range 0..1\n"
    campaign = Campaign(source)
    _told(campaign, {"X": 0.7}, 1.0)
    _told(campaign, {"X": 0.52}, None)
    asked = [
        Asked(source, campaign.ask(Tuner(), "schedule", trial=number)[1]) for number in range(3, 20)
    ]
    assert any(ask.changed["X"] > 0.52 for ask in asked)
    assert all(ask.changed["X"] != 0.52 for ask in asked)


def test_where_trainings_failed_nothing_is_proposed_even_when_all_else_was_tried() -> None:
    campaign = Campaign("# === schedule ===\nX = 2  # range 1..9 int\n")
    found = []
    while Tuner().covers(campaign.context("schedule")):
        proposal, candidate = campaign.ask(Tuner(), "schedule")
        found.append(values(candidate)["X"])
        gain = None if found[-1] > 4 else -1.0
        campaign.conclude("schedule", proposal, gain, keep=False)
    assert {1, 3, 4} <= set(found)
    assert [x for x in found if x > 4] == sorted((x for x in found if x > 4), reverse=True)
    with pytest.raises(NothingToPropose):
        Tuner().propose(campaign.context("schedule"))


@pytest.mark.parametrize("difference", [(math.nan, 0.1), (math.inf, 0.1), (0.1, math.nan)])
def test_a_difference_that_is_no_number_is_no_measurement(difference: tuple[float, float]) -> None:
    campaign = Campaign("# === schedule ===\nX = 0.5  # range 0..1\n")
    _told(campaign, {"X": 0.7}, 1.0)
    context = campaign.context("schedule")
    history = [replace(trial, difference=difference) for trial in context.history]
    assert measured(replace(context, history=history)) == []
    assert Tuner().propose(replace(context, history=history))
