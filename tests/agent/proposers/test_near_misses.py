"""Near misses are offered again once the champion has moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prompt_trials import BASELINE, heat, part, trial

from agent.campaign.records import Trial
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer
from agent.proposers.near_misses import MOST, near_misses


def near(number: int, **fields: Any) -> Trial:
    return trial(number, gain=0.003, hunks=(f"code:{number}",), candidate="c" * 40, **fields)


def keep(number: int, **fields: Any) -> Trial:
    return trial(number, verdict="keep", gain=0.01, hunks=(f"code:{number}",), **fields)


def offered(*trials: Trial, drawn: str = "schedule") -> list[int]:
    history = (BASELINE, *trials)
    return [miss.shown.trial.trial for miss in near_misses(history, history, {drawn})]


@pytest.mark.parametrize(
    ("trials", "numbers"),
    [
        ([near(1)], []),  # the champion is the same
        ([keep(1), near(2)], []),
        ([near(1), keep(2)], [1]),
        ([near(1), keep(2), near(3)], [1]),
        ([near(1), keep(2), near(3), keep(4)], [1, 3]),
        ([trial(1, gain=-0.001), keep(2)], []),
        ([trial(1, gain=0.003, status="crashed"), keep(2)], []),
        ([trial(1, gain=0.003, status="abandoned"), keep(2)], []),
        # tried again since: by its hunks, by its title, or under both
        ([near(1), keep(2), replace(near(3), hunks=("code:1",), gain=-0.001)], []),
        ([near(1), keep(2), replace(near(3), title="Idea 1", gain=-0.001)], []),
        ([near(1), keep(2), replace(near(3), title="Idea 1"), keep(4)], [3]),
        ([near(1), keep(2), replace(near(3), title="Idea 1", status="unjudged")], [1]),
        # a part of it has lost since, so that it would be refused
        ([near(1), keep(2), trial(3, gain=-0.01, hunks=("code:1",), title="part")], []),
    ],
)
def test_which_are_offered(trials: list[Trial], numbers: list[int]) -> None:
    assert offered(*trials) == numbers


def test_the_strongest_come_first_but_those_of_the_draw_before_others() -> None:
    weak, strong = near(1, gain_half=0.009), near(2, gain_half=0.0035)
    other = near(3, gain_half=0.0031, category="optimizer")
    counts_as = near(4, gain_half=0.0099, category="optimizer", shows="schedule")
    trials = (weak, strong, other, counts_as, keep(5))
    assert offered(*trials) == [2, 1, 4, 3]
    assert offered(*trials, drawn="optimizer") == [3, 2, 1, 4]
    assert offered(*trials, drawn="dataset") == [3, 2, 1, 4]
    surest = near(6, gain_half=0.02, difference=(0.003, 0.001))
    assert offered(*trials[:2], surest, keep(7)) == [6, 2, 1], "by its standard error"
    many = [near(n, gain_half=0.003 + n / 1e4) for n in range(1, 20)]
    assert offered(*many, keep(20)) == [1, 2, 3, 4, 5][:MOST]


def test_in_words(unasked: LLMProposer, context: Context) -> None:
    keeps = [keep(n, title=f"kept {n}") for n in range(2, 7)]
    history = (BASELINE, near(1, trainings=(*heat(0), *heat(1))), *keeps[:1])
    told = part(unasked.prompt(replace(context, history=history)), "focus")
    assert "may be proposed again" in told
    line = "\n- trial 1, schedule: idea 1, +0.003 ± 0.0021; kept since: trial 2\n"
    assert line in told
    told = part(unasked.prompt(replace(context, history=(*history[:2], *keeps))), "focus")
    assert "kept since: trials 2, 3, 4, 5, 6\n" in told
    told = part(unasked.prompt(replace(context, history=history[:2])), "focus")
    assert "Near misses" not in told


def test_gains_by_another_objective_are_not_offered(unasked: LLMProposer, context: Context) -> None:
    other = near(1, objective={"memory": 0.5})
    told = part(unasked.prompt(replace(context, history=(BASELINE, other, keep(2)))), "focus")
    assert "Near misses" not in told
