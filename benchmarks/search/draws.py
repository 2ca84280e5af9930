"""Other ways to draw a category than the prior's, for a benchmark's process only."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from agent.prior import Prior

Draw = Callable[[Prior, list[str], int], dict[str, float]]
"""From the prior, the categories that are available and the trial's number to the one that is
drawn, with its probability."""


def uniform(prior: Prior, left: list[str], trial: int) -> dict[str, float]:
    """Each with the same probability."""
    return {random.Random(f"uniform:{prior.seed}:{trial}").choice(left): 1 / len(left)}


def in_turn(prior: Prior, left: list[str], trial: int) -> dict[str, float]:
    """One after the other, in the order of program.md; who is not available misses a turn."""
    names = list(prior.described)
    first = (trial - 1) % len(names)
    return {next(name for name in names[first:] + names[:first] if name in left): 1.0}


def replace_draw(draw: Draw) -> None:
    """Make all priors of this process draw so; what they learn has then no effect."""

    def drawn(
        prior: Prior, places: int, available: Collection[str] | None = None, *, trial: int = 0
    ) -> dict[str, float]:
        return draw(prior, list(prior.described if available is None else available), trial)

    Prior.draw = drawn  # type: ignore[assignment, method-assign]
