"""What constants may be worth, given the differences of heats: one draw of what is plausible.

A Gaussian process (Rasmussen and Williams, 2006, chapter 2) in which the effects of constants add
up: each is a smooth curve along its range. What is observed is a difference of two points with its
own standard error, so that no score of another hour is compared, and the curves need no champion.
A draw is made as Matheron has it (Wilson et al., arXiv:2002.09309): a curve from the prior, moved
by what the observations say of it. It takes milliseconds and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LENGTH = 0.3
"""Share of a range along which a curve forgets."""
AMPLITUDES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
"""Sizes of a curve that are considered, in units of the noise of a heat."""
USUAL, DOUBT = 2.0, 1.0
"""The size before anything is measured, and the standard deviation of its logarithm."""
JITTER = 1e-6


@dataclass(frozen=True)
class Curve:
    """One constant; all values are places in its range, [0, 1], or numbers of words."""

    here: float
    """The champion's."""
    candidates: Array
    before: Array
    """Of each observation, in the champion of that time."""
    after: Array
    is_ordered: bool = True

    def kernel(self, a: Array, b: Array) -> Array:
        """Covariance of the curve of size 1. [len(a), len(b)]"""
        apart = a[:, None] - b[None, :]
        near = np.exp(-0.5 * (apart / LENGTH) ** 2) if self.is_ordered else apart == 0
        return np.asarray(near, np.float64)

    def observed(self, places: Array) -> Array:
        """Covariance of the values at places with each observed difference."""
        return self.kernel(places, self.after) - self.kernel(places, self.before)


def sample(
    curves: Sequence[Curve],
    differences: Array,
    errors: Array,
    noise: float,
    dice: np.random.Generator,
) -> list[Array]:
    """A draw of the gain of each candidate of each curve over the champion, bits per byte.

    Args:
        differences: observed, positive is better. [n]
        errors: their standard errors, positive. [n]
        noise: standard deviation of the difference of one heat.
    """
    shape = np.zeros((len(differences), len(differences)))
    for one in curves:
        shape += one.observed(one.after) - one.observed(one.before)
    size = noise * dice.choice(AMPLITUDES, p=_shares(shape, differences, errors, noise))
    drawn, seen = [], errors * dice.standard_normal(len(errors))
    for one in curves:
        parts = [one.candidates, np.array([one.here]), one.before, one.after]
        places, index = np.unique(np.concatenate(parts), return_inverse=True)
        known = one.kernel(places, places) + JITTER * np.eye(len(places))
        values = size * (np.linalg.cholesky(known) @ dice.standard_normal(len(places)))[index]
        at, here, before, after = np.split(values, np.cumsum([len(part) for part in parts])[:-1])
        drawn.append(at - here)
        seen = seen + after - before
    if not len(differences):
        return drawn
    off = np.linalg.solve(size**2 * shape + np.diag(errors**2), differences - seen)
    return [
        gains + size**2 * (one.observed(one.candidates) - one.observed(np.array([one.here]))) @ off
        for one, gains in zip(curves, drawn, strict=True)
    ]


def _shares(shape: Array, differences: Array, errors: Array, noise: float) -> Array:
    """Posterior share of each size."""
    logs = -0.5 * (np.log(AMPLITUDES / USUAL) / DOUBT) ** 2
    if len(differences):
        for i, size in enumerate(AMPLITUDES):
            covariance = (size * noise) ** 2 * shape + np.diag(errors**2)
            _, log_det = np.linalg.slogdet(covariance)
            logs[i] -= 0.5 * (differences @ np.linalg.solve(covariance, differences) + log_det)
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())
