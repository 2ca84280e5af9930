"""What is under way in another trial is not proposed a second time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated import NUMBERS, Campaign

from agent.campaign.records import Trial
from agent.proposers.base import NothingToPropose, Proposal
from agent.proposers.deck import Deck
from agent.proposers.tuner import Tuner


def under_way(number: int, proposal: Proposal, category: str) -> Trial:
    return Trial(
        number, category, proposer=proposal.proposer, reply=proposal.reply, data=proposal.data
    )


def test_the_deck_offers_each_recipe_once() -> None:
    context = Campaign().context("schedule")
    found: list[Trial] = []
    with pytest.raises(NothingToPropose):
        for number in range(1, 50):
            proposal = Deck().propose(replace(context, trial=number, pending=tuple(found)))
            found.append(under_way(number, proposal, "schedule"))
    assert len({trial.reply for trial in found}) == len(found) > 1


def test_the_deck_does_not_skip_what_is_under_way_for_what_was_refused() -> None:
    """A recipe that was turned down beside it is not offered again, and no other one is lost."""
    context = Campaign().context("schedule")
    one = Deck().propose(context)
    pending = (under_way(1, one, "schedule"),)
    two = Deck().propose(replace(context, pending=pending))
    refused = replace(context, pending=pending, feedback=("no",), turned_down=(two.reply,))
    assert Deck().propose(refused).reply not in (one.reply, two.reply)


def test_the_tuner_tries_each_point_once() -> None:
    context = Campaign(NUMBERS).context("hyperparameters")
    found: list[Trial] = []
    for _ in range(6):
        proposal = Tuner().propose(replace(context, pending=tuple(found)))
        found.append(under_way(1, proposal, "hyperparameters"))
    points = [tuple(sorted(trial.data["after"].items())) for trial in found]
    assert len(set(points)) == len(points)
