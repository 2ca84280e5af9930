"""Which kept change carries its own weight: the decision, as a table, and its intervals."""

from __future__ import annotations

import pytest

from agent.steps.fresh import Interval, interval
from agent.steps.weigh import branch_name, estimate, weigh

CLAIMED = 0.010
BETTER, WORSE = Interval(0.010, 0.006, 0.014), Interval(-0.010, -0.014, -0.006)
NOTHING, UNSURE = Interval(0.0, -0.002, 0.002), Interval(0.008, -0.004, 0.020)
LITTLE, BELOW = Interval(0.002, -0.003, 0.007), Interval(-0.001, -0.020, 0.018)


@pytest.mark.parametrize(
    ("alone", "left_out", "needs", "label", "words"),
    [
        (BETTER, BETTER, (), "carries", "better alone, and the champion is worse without it"),
        (BETTER, NOTHING, (), "carries", "better alone, and the champion may do without it"),
        (BETTER, WORSE, (), "no longer", "the champion is better without it"),
        (BETTER, None, (), "carries", "better alone"),
        (UNSURE, BETTER, (), "carries", "worse without it; alone it is not surely better"),
        (LITTLE, BETTER, (), "only with", "the other kept changes; "),
        (NOTHING, BETTER, (), "only with", "the other kept changes; "),
        (BELOW, BETTER, (), "only with", "the other kept changes; "),
        (WORSE, BETTER, (), "only with", "the other kept changes; "),
        (None, BETTER, (2,), "only with", "trial 2; "),
        (None, BETTER, (2, 5), "only with", "trial 2 and 5; "),
        (UNSURE, NOTHING, (), "no longer", "less than was claimed"),
        (WORSE, WORSE, (), "no longer", "the champion is better without it"),
        (None, BELOW, (1,), "undecided", "more --seeds"),  # what was claimed is in its interval
        (UNSURE, LITTLE, (), "no longer", "less than was claimed"),
        (UNSURE, UNSURE, (), "undecided", "more --seeds"),
        (UNSURE, None, (), "undecided", "cannot be left out"),
        (None, None, (1,), "undecided", "cannot be left out"),
    ],
)
def test_the_label_and_its_words(
    alone: Interval | None,
    left_out: Interval | None,
    needs: tuple[int, ...],
    label: str,
    words: str,
) -> None:
    found = weigh(CLAIMED, alone, left_out, needs)
    assert found[0] == label and words in found[1]


@pytest.mark.parametrize("left_out", [NOTHING, BELOW, LITTLE])
def test_what_was_kept_for_being_shorter_is_not_said_to_be_worthless(left_out: Interval) -> None:
    assert weigh(-0.001, NOTHING, left_out) == (
        "undecided",
        "no gain was claimed, and the champion does about as well without it",
    )


def test_more_intervals_are_wider_and_a_failure_has_none() -> None:
    differences = [0.010, 0.012, 0.009]
    one, ten = estimate(differences, 1), estimate(differences, 10)
    assert one == interval(differences)
    assert ten == interval(differences, 0.995)
    assert (
        one is not None and ten is not None and ten.low < one.low < one.mean < one.high < ten.high
    )
    assert ten.mean == one.mean
    for few in ([], [0.01], [*differences, "crashed (RuntimeError)"], ["oom", "oom"]):
        assert estimate(few, 2) is None


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("longer warm-down, 60 %", "07-longer-warm-down-60"),
        ("RATE 0.1 → 0.2", "07-rate-0-1-0-2"),
        ("../../HEAD.lock\n~^:?*[@{", "07-head-lock"),
        ("w" * 60, "07-" + "w" * 40),
        ("→", "07-change"),
        ("", "07-change"),
    ],
)
def test_a_branch_can_have_the_name_whatever_the_title(title: str, name: str) -> None:
    assert branch_name(7, title) == name
