"""Verdicts a training with 1 to 6 candidates in a heat, their false keeps and their power."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from benchmarks.heats_keeps import rate
from benchmarks.landscape.table import read_heats
from benchmarks.throughput.recorded import KINDS, Ground, Known
from benchmarks.throughput.simulated import Campaign, Heats, Landed

STARTS = ("plain", "shipped")
WIDTHS = (1, 2, 4, 6)
TRIALS, EARLY = 100, 20
"""Of each campaign; within which false keeps are told as well."""
BETTER = 1.0
"""An edit is worth finding from so many scales of the noise on."""
SCORING = 0.3
"""What scoring takes of a training of 5 s: 1.3 to 1.6 s (docs/results.md)."""
Make = Callable[[Ground, Callable[[random.Random], Known], int, str], Campaign]
RULES: Mapping[str, Make] = {
    **{f"{width} a heat": partial(Heats, width=width) for width in WIDTHS},
    "4 a heat, levels of the finished": partial(Heats, width=4, levels="of the finished"),
    "4 a heat, nothing judged anew": partial(Heats, width=4, anew=False),
    "before heats": Landed,
}


@cache
def grounds() -> list[Ground]:
    return [Ground(read_heats(), start) for start in STARTS]


def measured(rule: str, campaigns: int, trials: int = TRIALS) -> dict[str, Any]:
    """Campaigns of edits that do nothing, and of the recorded edits as they come."""
    make = RULES[rule]
    return {
        "campaigns": campaigns,
        "trials_of_each": trials,
        "nulls": nulls(make, campaigns, trials),
        "edits": edits(make, campaigns, trials),
    }


def nulls(make: Make, campaigns: int, trials: int) -> dict[str, Any]:
    """No edit is worth anything, and what is kept is kept falsely.

    A campaign is followed to its first false keep: after it, it has earned level again.
    """
    tried = kept = early = 0
    time = Time()
    for number in range(campaigns):
        ground = grounds()[number % len(STARTS)]

        def propose(dice: random.Random, ground: Ground = ground) -> Known:
            return ground.null(dice.choice(KINDS))

        campaign = make(ground, propose, trials, f"nulls {number}")
        for count, outcome in enumerate(campaign.outcomes(), 1):
            tried += 1
            if outcome.kept:
                kept, early = kept + 1, early + (count <= EARLY)
                break
        time.add(campaign)
    return {
        "false_keeps": rate(kept, tried),
        f"campaigns_with_one_in_{EARLY}": rate(early, campaigns),
        "campaigns_with_one": rate(kept, campaigns),
        **time.told(tried),
    }


def edits(make: Make, campaigns: int, trials: int) -> dict[str, Any]:
    """The edits of a start, each as likely as any other."""
    tried = keeps = worse = better = found = 0
    gained, time = 0.0, Time()
    for number in range(campaigns):
        ground = grounds()[number % len(STARTS)]

        def propose(dice: random.Random, ground: Ground = ground) -> Known:
            return dice.choice(ground.edits)

        campaign = make(ground, propose, trials, f"edits {number}")
        for outcome in campaign.outcomes():
            edit = outcome.edit
            is_better = edit.gain >= BETTER * ground.noise[edit.kind].scale
            tried, keeps, better = tried + 1, keeps + outcome.kept, better + is_better
            worse += outcome.kept and edit.gain <= 0
            found += outcome.kept and is_better
            gained += edit.gain if outcome.kept else 0.0
        time.add(campaign)
    return {
        "power": rate(found, better),
        "keeps_that_gain_nothing": rate(worse, keeps),
        "better_kept_a_training": round(found / time.trainings, 5),
        "gain_a_training": round(gained / time.trainings, 6),
        **time.told(tried),
    }


class Time:
    """Device time of campaigns, in trainings."""

    def __init__(self) -> None:
        self.trainings, self.scored = 0.0, 0

    def add(self, campaign: Campaign) -> None:
        self.trainings += campaign.trainings
        self.scored += campaign.scored

    def told(self, verdicts: int) -> dict[str, float]:
        scoring = SCORING * self.scored
        return {
            "verdicts_a_training": round(verdicts / self.trainings, 4),
            "with_scoring": round(verdicts / (self.trainings + scoring), 4),
        }


def compared(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each rule's verdicts for the same device time, as multiples of one candidate a heat's."""
    usual = found["1 a heat"]
    alike = {ground.start: ground.alike(2000) for ground in grounds()}
    names = ("verdicts_a_training", "with_scoring", "better_kept_a_training")
    times = {
        rule: {
            part: {n: round(told[part][n] / usual[part][n], 3) for n in names if n in told[part]}
            for part in ("nulls", "edits")
        }
        for rule, told in found.items()
    }
    return {"times_one_a_heat": times, "alike": alike}
