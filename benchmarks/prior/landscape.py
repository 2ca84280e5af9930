"""Campaigns over the recorded landscape of edits, if there is one (benchmarks/landscape)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from agent.judge import REWARD_HIGH, REWARD_LOW
from benchmarks.prior.families import Array, Outcome
from benchmarks.prior.published import CATEGORIES

HEATS = 2
"""Heats whose mean is the gain of a trial."""
Edit = tuple[str, str, tuple[float | None, ...]]
"""Start, category, and the reward of each heat; None: it failed."""


@cache
def edits() -> tuple[Edit, ...]:
    """Edits of one category each, with the rewards of their heats; none if nothing is recorded."""
    try:
        from benchmarks.landscape import Landscape
    except ImportError:
        return ()
    return tuple(_edit(one) for one in Landscape.load().edits if one.category in CATEGORIES)


def _edit(one: Any) -> Edit:
    return one.start, one.category, tuple(sample.difference for sample in one.heats)


def is_recorded() -> bool:
    return len(edits()) > 0
