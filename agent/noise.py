"""What a campaign learns about noise and gains: pure functions of its trials' differences."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
import scipy

from agent.judge import Noise

Grid = npt.NDArray[np.float64]
SCALES = np.exp(np.linspace(-3.0, 3.0, 121))
"""Scales that are considered, as multiples of the prior's."""
DOFS = np.array([2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 25.0, 50.0])
SCALE_DOUBT, DOF_DOUBT = 1.0, 0.7
"""Standard deviation of the prior of log scale and log degrees of freedom."""
WILD_SHARE = 0.02
"""Share of trials whose spread says nothing about the noise: a training that diverged."""
WILD_WIDTH = 10.0
"""Width of what such a trial's log spread may be."""
EFFECT_READINGS = 5.0
"""How many trials the prior of the gains is worth."""


@dataclass(frozen=True)
class Spread:
    """How far the differences of one trial lie from their mean, or from a mean that is known."""

    squares: float
    """Sum of squared distances."""
    dof: int
    """Number of differences, less one if the mean is their own."""


def spread(differences: Sequence[float], mean: float | None = None) -> Spread:
    """The spread of a trial's differences; ``mean`` if it is known, as in a null trial."""
    if not differences:
        return Spread(0.0, 0)
    middle = fmean(differences) if mean is None else mean
    squares = sum((difference - middle) ** 2 for difference in differences)
    return Spread(squares, len(differences) - (mean is None))


def learn_noise(spreads: Iterable[Spread], prior: Noise) -> Noise:
    """The noise of a kind of edit, from the trials so far and a prior.

    Each trial's variance is the scale's times an inverse chi-square of so many degrees of freedom,
    so that squares over scale are F-distributed (Smyth 2004, section 3). Both are inferred on a
    grid, with log-normal priors; a share of the trials is allowed to be anything, so that one
    diverged training cannot lift the noise for good. What is still unknown of the scale lowers the
    degrees of freedom that are returned: a new campaign believes its preset only so far.
    """
    log_scales, dofs = np.log(SCALES * prior.scale)[:, None], DOFS[None, :]
    fit = -0.5 * (np.log(SCALES)[:, None] / SCALE_DOUBT) ** 2
    fit = fit - 0.5 * (np.log(dofs / prior.dof) / DOF_DOUBT) ** 2
    for one in spreads:
        if one.dof > 0 and one.squares > 0:
            fit = fit + _log_likelihood(one, prior.scale)
    share = np.exp(fit - fit.max())
    share /= share.sum()
    scale = float((share * log_scales).sum())
    doubt = float((share * (log_scales - scale) ** 2).sum())
    dof = math.exp(float((share * np.log(dofs)).sum()))
    return Noise(
        math.exp(scale), max(1.0, _dof_of(scipy.special.polygamma(1, dof / 2) + 4 * doubt))
    )


@functools.lru_cache(maxsize=1200)  # of the latest trials of both kinds, at each verdict
def _log_likelihood(one: Spread, scale: float) -> Grid:
    """What a trial's spread says of each scale and degrees of freedom, wild ones allowed for."""
    usual = _log_density(one, np.log(SCALES * scale)[:, None], DOFS[None, :])
    wild = math.log(WILD_SHARE / WILD_WIDTH)
    found: Grid = np.logaddexp(math.log(1 - WILD_SHARE) + usual, wild)
    return found


def _log_density(one: Spread, log_scales: Grid, dofs: Grid) -> Grid:
    """Log density of log(squares / dof), an F distribution in units of the scale squared."""
    ratio = math.log(one.squares / one.dof) - 2 * log_scales
    half, halves = one.dof / 2, dofs / 2
    density = half * (ratio + np.log(one.dof / dofs)) - scipy.special.betaln(half, halves)
    found: Grid = density - (half + halves) * np.log1p(np.exp(ratio) * one.dof / dofs)
    return found


def _dof_of(variance: float) -> float:
    """Degrees of freedom of a chi-square whose logarithm has this variance."""
    halves = np.geomspace(0.05, 1e4, 2000)
    return 2 * float(np.interp(-variance, -scipy.special.polygamma(1, halves), halves))


def learn_effect(gains: Iterable[tuple[float, float]], prior: float) -> float:
    """Standard deviation of the true gains of a kind of edit, bits per byte.

    From the trials that were better at all, since only those can be kept: the mean square of what
    was measured less that of its error. Squares count at most nine times what is expected, so that
    one huge gain does not make all small ones believed.

    Args:
        gains: mean difference and its standard error, by trial.
    """
    better = np.array([(mean, error) for mean, error in gains if mean > 0]).reshape(-1, 2) ** 2
    effect = prior
    for _ in range(20):
        found = np.minimum(better[:, 0], 9 * (effect**2 + better[:, 1])) - better[:, 1]
        total = EFFECT_READINGS * prior**2 + float(found.sum())
        effect = math.sqrt(max(total / (EFFECT_READINGS + len(found)), (0.1 * prior) ** 2))
    return effect
