"""Evidence comes back: what the heats of a trial have shown stands in every later prompt, once, and
is never told differently."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from events import Story
from prompt_trials import BASELINE, part, trial

from agent.campaign.journal import read_events
from agent.campaign.state import fold
from agent.edits.blocks import HYPOTHESIS_LENGTH
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer

RECORDED = Path(__file__).parents[1] / "campaign" / "recorded"
LEVEL = (3.0,) * 20
AHEAD = (*(3.02,) * 10, *(2.9876,) * 10)


def story(**end: Any) -> Story:
    """A trial of two heats, at first behind and then ahead of its champion."""
    told = Story()
    told.baseline()
    number = told.draw("schedule")
    told.candidate(number, "longer", "It decays later.", sign="no crossing of the curves")
    for score in (1.291, 1.288):
        rival = {"losses": LEVEL, "steps": 400}
        told.heat(number, 1.3, score, champion=rival, losses=AHEAD, steps=300)
    usual = {"gain": 0.0071, "gain_half": 0.0042, "difference": (0.01049, 0.00213), "noise": 0.0031}
    told.end(number, "keep", "kept", **(usual | end))
    return told


def history(unasked: LLMProposer, context: Context, told: Story) -> list[str]:
    found = unasked.prompt(replace(context, history=tuple(told.state.real)))
    return [p.text for p in found.parts if p.name.startswith("trial ")]


def test_all_of_it_once(unasked: LLMProposer, context: Context) -> None:
    assert history(unasked, context, story())[1] == (
        "trial 1, schedule, KEPT, +0.01, standard error 0.0021, 2 heats, noise of one 0.0031; "
        "+0.0071 corrected for its selection: longer\n"
        "  hypothesis: It decays later.\n"
        "  wrong if: no crossing of the curves\n"
        "  curve: -0.02 -0.02 -0.02 -0.02 -0.02 +0.012 +0.012 +0.012 +0.012 +0.012\n"
        "  pace: 0.75 times the champion's steps, 1.00 times its tokens\n"
    )


def test_what_earlier_versions_recorded_is_told(unasked: LLMProposer, context: Context) -> None:
    """Without heats there is no curve, and without a standard error an interval stands."""
    for journal, curves in (("2026-11-25", 0), ("2026-11-28", 1)):
        past = tuple(fold(read_events(RECORDED / f"{journal}.jsonl")).real)
        told = unasked.prompt(replace(context, history=past)).text.partition("trial 0, ")[2]
        assert told.count("curve: ") == curves and "standard error" not in told
        assert re.search(r"trial 1, \w+, reverted, inconclusive.*: [+-]0\.\d+ ± 0\.\d+", told)


NEAR = {"gain": 0.0031, "gain_half": 0.005, "difference": (0.0031, 0.0025), "noise": 0.004}
WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "a near miss": (
        NEAR,
        "reverted, inconclusive, near miss: +0.0031, standard error 0.0025, 1 heat, noise of one "
        "0.004: idea 1\n",
    ),
    "inconclusive": (
        NEAR | {"gain": -0.0031, "difference": (-0.0031, 0.0025)},
        "reverted, inconclusive: -0.0031, standard error 0.0025, 1 heat, noise of one 0.004: ",
    ),
    "lost": (
        NEAR | {"gain": -0.0131, "difference": (-0.0131, 0.0025)},
        "reverted, lost: -0.013, standard error 0.0025, 1 heat, noise of one 0.004: ",
    ),
    "nothing at all": (
        NEAR | {"gain": 0.0, "difference": (0.0, 0.0025)},
        "reverted, inconclusive: +0, standard error 0.0025, 1 heat, noise of one 0.004; exactly 0, "
        "as of an edit that does nothing: idea 1\n",
    ),
    "ended early": (
        NEAR | {"status": "abandoned", "gain": -0.06, "difference": (-0.06, 0.01), "trainings": ()},
        "ended early, lost, worse by 0.0040 ± 0.00213 in 1 heat, reverted: forecast -0.06, ",
    ),
    "a near-tie": (
        NEAR | {"verdict": "keep", "tie": True},
        "KEPT, a near-tie, shorter, +0.0031, standard error 0.0025, 1 heat, noise of one 0.004: ",
    ),
    "a proven tie": (
        NEAR | {"verdict": "keep", "tie": True, "proof": "same"},
        "KEPT, shorter, and the same numbers to the last bit: idea 1\n",
    ),
    "of an earlier version": (
        NEAR | {"difference": None, "noise": None},
        "reverted, inconclusive, near miss: +0.0031 ± 0.005 in 1 heat: idea 1\n",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_verdicts_have_words_of_their_own(
    unasked: LLMProposer, context: Context, case: str
) -> None:
    fields, words = WORDS[case]
    asked = replace(context, history=(BASELINE, trial(1, **fields)))
    assert part(unasked.prompt(asked), "trial 1").startswith(f"trial 1, schedule, {words}")


def test_what_cannot_be_compared_is_said_and_not_shown(
    unasked: LLMProposer, context: Context
) -> None:
    told = story()
    event = next(e for e in told.events[::-1] if e["event"] == "candidate")
    event["hides_loss"] = True
    shown = history(unasked, context, told)[1]
    assert "curve: not comparable, the edit touches the loss" in shown
    assert "-0.02" not in shown and shown.count("curve") == 2, "the sign speaks of one, too"


def test_it_needs_no_files_and_stays_as_it_was_told(unasked: LLMProposer, context: Context) -> None:
    """Whatever comes after: another champion, another noise, a louder or a longer campaign."""
    told = story()
    before = history(unasked, context, told)
    told.trial("schedule", "more", [(1.2, 1.4), (1.2, 1.0)] * 2, gain=-0.1, gain_half=0.3)
    told.trial("architecture", "new", [(1.29, 1.27)] * 2, verdict="keep", gain=0.02)
    after = history(unasked, replace(context, noise={"numbers": 1.0, "structure": 2.0}), told)
    assert after[:2] == before and len(after) == 4


def test_a_hypothesis_is_told_whole_or_without_its_end(
    unasked: LLMProposer, context: Context
) -> None:
    whole = "Because. " * (HYPOTHESIS_LENGTH // 9)
    for given, end in ((whole, "Because."), (whole * 20, "Because…")):
        asked = replace(context, history=(BASELINE, trial(1, hypothesis=given)))
        told = part(unasked.prompt(asked), "trial 1").splitlines()[1]
        assert told.startswith("  hypothesis: Because. Because.") and told.endswith(end)
        assert len(told) > HYPOTHESIS_LENGTH and "left out" not in told


def test_what_is_left_for_near_ties_is_told_once_something_is_spent(
    unasked: LLMProposer, context: Context
) -> None:
    tie = trial(1, verdict="keep", tie=True, tie_cost=0.004)
    shown = [
        part(unasked.prompt(replace(context, ties=0.02, history=past)), "focus")
        for past in ((BASELINE,), (BASELINE, tie), (BASELINE, tie, replace(tie, tie_cost=0.02)))
    ]
    found = [text.partition("near-ties may cost, ")[2].partition(" ")[0] for text in shown]
    assert found == ["", "0.016", "0"]
