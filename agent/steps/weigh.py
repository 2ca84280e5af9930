"""Whether a kept change carries its own weight: what a harvest decides, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from agent.steps.fresh import Interval, interval
from trainer.untrusted import one_line

Label = Literal["carries", "only with", "no longer", "undecided"]
WRONG = 0.05
"""The share of harvests of which one interval or more may miss the truth."""


def weigh(
    claimed: float, alone: Interval | None, left_out: Interval | None, needs: Sequence[int] = ()
) -> tuple[Label, str]:
    """A kept change's label, and why it has it.

    Args:
        claimed: its gain as it was kept.
        alone: the gain of the baseline with this change only; None if there is no such file.
        left_out: what the champion loses without it; None if there is no such file.
        needs: earlier trials without which it does not stand on the baseline.
    """
    if left_out is not None and left_out.high < 0:
        return "no longer", "the champion is better without it"
    missed = left_out is not None and left_out.low > 0
    if alone is not None and alone.low > 0:
        there = f", and the champion {'is worse' if missed else 'may do'} without it"
        return "carries", "better alone" + there * (left_out is not None)
    if left_out is None:
        return "undecided", "it cannot be left out, and alone it is not surely better"
    if missed and alone is not None and alone.mean > 0 and alone.high >= left_out.mean:
        return "carries", "the champion is worse without it; alone it is not surely better"
    if missed:
        others = f"trial {' and '.join(map(str, needs))}" if needs else "the other kept changes"
        return "only with", f"{others}; the champion is worse without it, alone it gains less"
    if left_out.high < claimed:
        return "no longer", "left out it costs less than was claimed, if anything"
    if claimed <= 0:
        return "undecided", "no gain was claimed, and the champion does about as well without it"
    return "undecided", "it may be worth nothing or what was claimed; more --seeds would tell"


def estimate(differences: Sequence[float | str], intervals: int) -> Interval | None:
    """The interval of a mean difference; None without two of them, or if one failed, in words.

    All ``intervals`` of a harvest hold together with 95 % confidence (Bonferroni), since the best
    of many gains is the one that luck has helped most.
    """
    numbers = [one for one in differences if not isinstance(one, str)]
    is_whole = len(numbers) == len(differences) > 1
    return interval(numbers, 1 - WRONG / intervals) if is_whole else None


def branch_name(trial: int, title: str) -> str:
    """``07-longer-warm-down``: letters, digits and hyphens, whatever the title is."""
    slug = re.sub(r"[^a-z0-9]+", "-", one_line(title).lower())[:40].strip("-")
    return f"{trial:02}-{slug or 'change'}"
