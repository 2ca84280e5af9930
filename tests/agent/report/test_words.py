"""Numbers and words that all displays share: what a heat came to, and the false-keep meter."""

from __future__ import annotations

from typing import Any

import pytest
from events import Story

from agent.report.text import heat_words, meter, signed


def told(first: float | None, second: float | None, **fields: Any) -> str:
    """The words of a heat with these scores of champion and candidate."""
    story = Story()
    story.baseline()
    number = story.draw("schedule")
    story.candidate(number, "x")
    story.heat(number, first, second, **fields)
    return heat_words(story.state.trials[number].heats[0])


def test_a_heat_that_counts_is_its_difference() -> None:
    assert told(1.3, 1.29) == (
        "difference +0.0100: champion 1.3000, candidate 1.2900 (side by side), 0:24"
    )
    assert told(1.3, 1.31, how="in turn").startswith("difference -0.0100: ")
    assert told(1.3, 1.31, how="in turn").endswith("(in turn), 0:24")
    assert "()" not in told(1.3, 1.31, how="")


def test_costs_are_told_with_what_they_are_made_of() -> None:
    """A higher score may be the better one: a difference of the scores would not say so."""
    story = Story()
    story.baseline()
    number = story.draw("schedule", objective={"target": 1.4, "doubling": 0.1})
    story.candidate(number, "x")
    story.heat(number, 1.3, 1.39, spent=0.5)
    words = heat_words(story.state.trials[number].heats[0])
    assert words.startswith("difference +0.1000 in cost: champion 1.3000 (100% of the budget, ")
    assert ", candidate 1.3900 (50% of the budget, " in words and " GB)" in words
    bounded = story.draw("schedule", objective={"memory_limit": 4.0})
    story.candidate(bounded, "x")
    story.heat(bounded, 1.3, 1.29)
    assert "budget" not in heat_words(story.state.trials[bounded].heats[0])


def test_what_a_leak_could_be_worth_is_off_the_difference() -> None:
    assert told(1.3, 1.29, leak_bound_bpb=0.004).startswith("difference +0.0060: ")


def test_a_candidate_that_crashed_is_named_and_so_is_a_champion() -> None:
    reason = "crash: RuntimeError: shapes\nof \x1b[31m two"
    assert told(None, None, reason=reason) == (
        "candidate crashed (crash: RuntimeError: shapes of \ufffd[31m two) (side by side)"
    )
    champion = {"status": "oom", "reason": "memory: 7 GB"}
    assert told(None, 1.29, champion=champion) == "champion oom (memory: 7 GB) (side by side)"
    assert told(1.30, None, status="killed", reason="") == "candidate killed (side by side)"


def test_a_hopeless_candidate_has_no_difference() -> None:
    words = told(None, None, status="abandoned", reason="hopeless after 40% of a heat")
    assert words == "hopeless after 40% of a heat, ended (side by side)"


def test_a_quarantined_score_is_told_and_does_not_count() -> None:
    words = told(1.3, 0.9, counted=False, quarantined=True)
    assert words == "not counted: champion 1.3000, candidate 0.9000 (side by side), 0:24"


@pytest.mark.parametrize(
    ("nulls", "kept", "words"),
    [
        (0, 0, "no null trial yet"),
        (1, 0, "0 of 1 null kept (below 95 % with 95 % confidence)"),
        (7, 0, "0 of 7 nulls kept (below 35 % with 95 % confidence)"),
        (60, 0, "0 of 60 nulls kept (below 5 % with 95 % confidence)"),
        (60, 3, "3 of 60 nulls kept (below 12 % with 95 % confidence)"),
        (2, 2, "2 of 2 nulls kept (below 100 % with 95 % confidence)"),
    ],
)
def test_the_meter_says_how_many_false_keeps_there_may_be(
    nulls: int, kept: int, words: str
) -> None:
    assert meter(nulls, kept) == words


def test_no_minus_stands_before_zero() -> None:
    assert (signed(-0.00001), signed(0.0), signed(-0.0001)) == ("+0.0000", "+0.0000", "-0.0001")
    assert signed(None) == ""
