"""Whether a heat that is under way can still end in a keep: pure functions of its losses.

Champion and candidate of a heat have one seed and read the same text, so their training losses can
be compared long before the end. The difference so far forecasts the difference of their scores; how
well it does is learnt from the heats of the campaign that ran to their end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from agent.judge import Estimate, Judge

PARTS = 20
"""Losses are given by this many equal parts of the budget."""
CHECKPOINTS = (5, 8, 11, 14, 17)
"""After so many parts a candidate may be abandoned."""
LATEST = 4
"""The difference so far is the mean over this many of the latest parts."""
EARLY_DOUBT, LATE_DOUBT = 0.4, 0.05
"""Error of a forecast as a share of it, at the very beginning and at the end."""
NOISE_DOUBT = 1.5
"""Error of the forecast of an edit that does nothing, in scales of the noise."""
OPTIMISM = 2.4
"""A candidate is abandoned if so many standard errors above the forecast it would be reverted."""
ENDS = 6
"""How many ends of a heat are tried on each side of its forecast."""
PRIOR_READINGS = 6.0
GUARDED = frozenset({"dataset", "preprocessing", "regularisation", "schedule"})
"""Categories whose edits change what the training loss is about, or when it falls."""
GUARDED_READINGS, GUARDED_DOUBT = 8, 1.5
"""An edit of those is abandoned only after so many heats of its category, if they were forecast
with no more than this many times the usual error."""
RUNS_ON = 20
"""One in so many hopeless candidates is trained to the end, so that forecasts can be checked."""


class Course(NamedTuple):
    """The losses of one heat that ran to its end, and the difference of its scores."""

    category: str
    champion: Sequence[float | None]
    candidate: Sequence[float | None]
    difference: float
    scale: float
    """Of the noise of its kind of edit, bits per byte."""
    so_far: tuple[float, ...] = ()
    """``at_checkpoints`` of the losses, if somebody has kept it."""


@dataclass(frozen=True)
class Forecast:
    """What the difference of a heat's scores will be, bits per byte."""

    mean: float
    error: float
    """Standard error."""

    @property
    def interval(self) -> Estimate:
        return Estimate(self.mean, 1.96 * self.error)


def so_far(
    champion: Sequence[float | None], candidate: Sequence[float | None], parts: int
) -> float | None:
    """Champion's minus candidate's loss over the latest of ``parts``; None if few were logged."""
    if min(len(champion), len(candidate)) < parts:
        return None
    latest = slice(max(0, parts - LATEST), parts)
    pairs = zip(champion[latest], candidate[latest], strict=True)
    found = [a - b for a, b in pairs if a is not None and b is not None]
    return fmean(found) if 2 * len(found) >= LATEST else None


def forecast(difference: float, parts: int, scale: float, doubt: float = 1.0) -> Forecast:
    """The forecast from the difference so far.

    Args:
        parts: how many parts of the budget are over.
        scale: of the noise, bits per byte.
        doubt: see ``learn_doubt``.
    """
    share = EARLY_DOUBT + (LATE_DOUBT - EARLY_DOUBT) * parts / PARTS
    return Forecast(difference, doubt * math.hypot(share * difference, NOISE_DOUBT * scale))


def at_checkpoints(
    champion: Sequence[float | None], candidate: Sequence[float | None]
) -> tuple[float, ...]:
    """The difference so far at each checkpoint, not a number where it is not known."""
    found = (so_far(champion, candidate, parts) for parts in CHECKPOINTS)
    return tuple(math.nan if so is None else so for so in found)


def learn_doubt(courses: Iterable[Course]) -> tuple[float, int]:
    """Error of past forecasts, as a multiple of what they said, and how many there were."""
    known = list(courses)
    if not known:
        return 1.0, 0
    so = np.array([c.so_far or at_checkpoints(c.champion, c.candidate) for c in known])
    ends, scales = np.array([(course.difference, course.scale) for course in known]).T[:, :, None]
    shares = EARLY_DOUBT + (LATE_DOUBT - EARLY_DOUBT) * np.array(CHECKPOINTS) / PARTS
    errors = (ends - so) ** 2 / ((shares * so) ** 2 + (NOISE_DOUBT * scales) ** 2)
    told = errors[~np.isnan(so).all(axis=1)]
    total = PRIOR_READINGS + float(np.minimum(9.0, np.nanmean(told, axis=1)).sum())
    return math.sqrt(total / (PRIOR_READINGS + len(told))), len(told)


def doubt_about(category: str, guarded: bool, courses: Sequence[Course]) -> float | None:
    """The doubt with which a candidate's end may be forecast; None if it must not be."""
    doubt, _ = learn_doubt(courses)
    if category not in GUARDED and not guarded:
        return doubt
    own, count = learn_doubt(c for c in courses if c.category == category)
    if guarded or count < GUARDED_READINGS or own > GUARDED_DOUBT:
        return None
    return max(doubt, own)


def is_hopeless(
    judge: Judge,
    differences: Sequence[float],
    told: Forecast,
    *,
    size_delta: int,
    level: float | None,
    worth: Callable[[float], float] = lambda difference: difference,
) -> bool:
    """Whether a trial would be reverted however this heat ended, up to far better than forecast.

    Not only at the best end: a difference far above the earlier ones makes a trial noisier.

    Args:
        worth: the most that a difference of the scores can come to by the objective.
    """
    reach = OPTIMISM * told.error
    ends = [told.mean + step / ENDS * reach for step in range(ENDS, -ENDS - 1, -1)]
    return all(
        judge.verdict([*differences, worth(end)], size_delta=size_delta, level=level) == "revert"
        for end in ends
    )
