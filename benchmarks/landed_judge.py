"""The keep rule before heats, as of commit 67418f5; kept for comparison only.

It judged scores of trainings that ran one after the other, each with a seed of its own: first one
training screened the candidate, then candidate and champion were trained in turn. Its noise was the
standard deviation of val_bpb over seeds, pooled over all replicates of a campaign and a prior. Left
out is what a comparison of rates needs not: words, intervals, quarantine, rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean
from typing import Literal

import numpy as np

Rule = Literal["confirm", "strict", "greedy"]
Decision = Literal["keep", "revert", "candidate", "champion"]

LOOKS = {"confirm": 4, "strict": 6}
"""Number of fresh seeds, of candidate and of champion, after which the test has to decide."""
FALSE_KEEPS = {"confirm": 0.05, "strict": 0.01}
"""Allowed share of keeps among edits without any gain, screening included."""
SCREEN = -0.25
"""A candidate passes the screening if its gain is at least this many standard errors."""
TIE_MARGIN = 1.0
"""A shorter file may be worse by less than this many sigma, with 90 % confidence."""
CHAMPION_SEEDS = 3
"""While a champion has fewer scores than this, each trial measures it once more."""
PRIOR_SIGMA, PRIOR_DOF = 0.008, 4.0
"""What the preset cpu had for the noise."""


@dataclass(frozen=True)
class Noise:
    sigma: float
    dof: float


def pooled_sigma(groups: Iterable[Sequence[float]], prior_sigma: float, prior_dof: float) -> Noise:
    """Sigma pooled over groups of replicates (same source, other seeds), with a prior."""
    squares, dof = prior_dof * prior_sigma**2, prior_dof
    for scores in groups:
        if len(scores) > 1:
            mean = fmean(scores)
            squares += sum((score - mean) ** 2 for score in scores)
            dof += len(scores) - 1
    return Noise(math.sqrt(squares / dof), dof)


@lru_cache(maxsize=4096)
def t_quantile(p: float, dof: float | None = None) -> float:
    """Quantile of Student's t, of the normal distribution if ``dof`` is None; good to 1e-4."""
    if dof is None:
        return NormalDist().inv_cdf(p)
    angle = np.linspace(0.0, min(math.pi / 2, 40 / math.sqrt(dof)), 20_001)
    density = np.cos(angle) ** (dof - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    a = np.interp(abs(2 * p - 1) * mass[-1], mass, angle)
    return math.copysign(math.sqrt(dof) * math.tan(float(a)), p - 0.5)


@dataclass(frozen=True)
class Judge:
    """A group-sequential test that asks for one training at a time."""

    rule: Rule
    sigma: float
    dof: float | None = None

    def verdict(
        self,
        champion_scores: Sequence[float],
        candidate_scores: Sequence[float],
        *,
        lines_delta: int = 0,
        trials_since_keep: int = 0,
    ) -> Decision:
        """``keep``, ``revert``, or which of the two to train next.

        Args:
            champion_scores: in the order taken; outside ``greedy`` fresh seeds only, those of
                earlier trials with this champion included.
            candidate_scores: in the order taken; the first is the screening.
            trials_since_keep: the longer nothing was kept, the lower the share of false keeps.
        """
        champion, candidate = champion_scores, candidate_scores
        if not champion:
            return "champion"
        if not candidate:
            return "candidate"
        if self.rule == "greedy":
            return "keep" if candidate[0] < champion[0] else "revert"
        looks, m, n = LOOKS[self.rule], len(champion), len(candidate) - 1
        # A shorter file gets the tie margin in every test that could revert it.
        grant = TIE_MARGIN * self.sigma if lines_delta < 0 else 0.0
        if n == 0:
            screened = fmean(champion) - candidate[0] + grant
            return "revert" if screened < SCREEN * self._error(m, 1) else "candidate"
        gain, error = fmean(champion) - fmean(candidate[1:]), self._error(m, n)
        false_keeps = max(
            FALSE_KEEPS["strict"], FALSE_KEEPS[self.rule] / (1 + max(0, trials_since_keep) / 20)
        )
        boundary = NormalDist().inv_cdf(1 - 0.8 * false_keeps) * (looks / min(n, looks)) ** 0.25
        if gain > t_quantile(NormalDist().cdf(boundary), self.dof) * error:
            return "keep"
        if m >= looks and n >= looks:
            tied = grant > 0 and gain + grant > t_quantile(0.9, self.dof) * error
            return "keep" if tied else "revert"
        if gain + grant < (0.35 * (n - 1) - 0.25) * error:
            return "revert"
        return "champion" if m <= n < looks or n >= looks else "candidate"

    def _error(self, m: int, n: int) -> float:
        """Standard error of the difference between means of ``m`` and ``n`` scores."""
        return self.sigma * math.sqrt(1 / m + 1 / n)
