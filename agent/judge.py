"""Noise, keep rule, reward: pure functions of val_bpb scores (bits per byte, lower is better).

A gain is champion minus candidate, so positive is better. Sigma is the standard deviation of
val_bpb over seeds; ``dof`` is how many degrees of freedom its estimate has, None if it is known.
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
QUARANTINE_SIGMAS, QUARANTINE_SHARE = 8.0, 0.03
"""A gain above both this many sigma and this share of the champion's score is implausible."""
EFFECT_SIZE = 2.0
"""Prior standard deviation of the gains of edits, in sigma; gains are shrunk with it."""
REWARD_UNIT = 5.0
REWARD_LOW, REWARD_HIGH = -0.2, 1.0


@dataclass(frozen=True)
class Noise:
    sigma: float
    dof: float


@dataclass(frozen=True)
class Estimate:
    """A mean and the half-width of its 95 % interval, bits per byte."""

    mean: float
    half: float


def pooled_sigma(groups: Iterable[Sequence[float]], prior_sigma: float, prior_dof: float) -> Noise:
    """Sigma pooled over groups of replicates (same source, other seeds), with a prior.

    The scaled-inverse-chi-squared posterior of a variance: the prior counts as ``prior_dof``
    readings (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6).
    """
    squares, dof = prior_dof * prior_sigma**2, prior_dof
    for group in groups:
        scores = _finite(group)
        if len(scores) > 1:
            mean = fmean(scores)
            squares += sum((score - mean) ** 2 for score in scores)
            dof += len(scores) - 1
    return Noise(math.sqrt(squares / dof), dof)


@lru_cache(maxsize=256)
def t_quantile(p: float, dof: float | None = None) -> float:
    """Quantile of Student's t, of the normal distribution if ``dof`` is None; good to 1e-4.

    With t = sqrt(dof) tan(a) the density is proportional to cos(a) ** (dof - 1), which is
    integrated by the trapezoidal rule; dof at least 1.
    """
    if dof is None:
        return NormalDist().inv_cdf(p)
    angle = np.linspace(0.0, min(math.pi / 2, 40 / math.sqrt(dof)), 20_001)
    density = np.cos(angle) ** (dof - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    a = np.interp(abs(2 * p - 1) * mass[-1], mass, angle)
    return math.copysign(math.sqrt(dof) * math.tan(float(a)), p - 0.5)


@dataclass(frozen=True)
class Judge:
    """A group-sequential test that asks for one training at a time.

    ``confirm`` and ``strict``: one training screens the candidate. Then candidate and champion are
    trained on fresh seeds in turn, and after each training the difference of the fresh means is
    tested (Student's t), with boundaries that narrow as ``looks ** 0.25`` (Wang and Tsiatis,
    Biometrics 43, 1987), so that a decisive win or loss stops early. The screening score was
    used for selection and never enters a mean. ``greedy`` compares one score with one score.
    """

    rule: Rule
    sigma: float
    dof: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in (*LOOKS, "greedy"):
            raise ValueError(f"keep rule {self.rule!r}; there are confirm, strict and greedy")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma must be positive and finite, not {self.sigma}")
        if self.dof is not None and not self.dof >= 1:
            raise ValueError(f"dof must be at least 1, not {self.dof}")

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
            lines_delta: by how many lines the candidate's file is longer; a near-tie is kept only
                if it makes the file shorter.
            trials_since_keep: the longer nothing was kept, the more of the wins are luck, so this
                number lowers the share of false keeps, down to that of ``strict``.

        Raises:
            ValueError: a score is not finite.
        """
        champion, candidate = _finite(champion_scores), _finite(candidate_scores)
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
        # 0.8: with it the whole test keeps that share, by simulation (tests/agent/test_judge.py).
        boundary = NormalDist().inv_cdf(1 - 0.8 * false_keeps) * (looks / min(n, looks)) ** 0.25
        if gain > t_quantile(NormalDist().cdf(boundary), self.dof) * error:
            return "keep"
        if m >= looks and n >= looks:
            tied = grant > 0 and gain + grant > t_quantile(0.9, self.dof) * error
            return "keep" if tied else "revert"
        if gain + grant < (0.35 * (n - 1) - 0.25) * error:
            return "revert"
        return "champion" if m <= n < looks or n >= looks else "candidate"

    def gain_interval(
        self, champion_scores: Sequence[float], candidate_scores: Sequence[float]
    ) -> Estimate:
        """Gain over the champion, from fresh seeds where there are any. Neither may be empty."""
        champion, candidate = self._compared(champion_scores, candidate_scores)
        error = self._error(len(champion), len(candidate))
        return Estimate(fmean(champion) - fmean(candidate), t_quantile(0.975, self.dof) * error)

    def too_good(self, champion_scores: Sequence[float], score: float) -> bool:
        """Whether a score is more likely an error than an improvement; scores must be finite."""
        (score,), champion = _finite([score]), fmean(_finite(champion_scores))
        return champion - score > max(QUARANTINE_SIGMAS * self.sigma, QUARANTINE_SHARE * champion)

    def score_interval(self, candidate_scores: Sequence[float]) -> Estimate:
        """val_bpb of the candidate: mean over fresh seeds, the screening while there are none."""
        _, scores = self._compared((), candidate_scores)
        error = self.sigma / math.sqrt(len(scores))
        return Estimate(fmean(scores), t_quantile(0.975, self.dof) * error)

    def words(
        self,
        verdict: Literal["keep", "revert"],
        champion_scores: Sequence[float],
        candidate_scores: Sequence[float],
        *,
        status: str = "ok",
        reason: str = "",
    ) -> str:
        """The verdict in plain words."""
        if status != "ok":
            told = {"oom": "ran out of memory", "overtime": "ran over its time"}.get(status, status)
            return f"{told}{f' ({reason})' if reason else ''}, reverted"
        gain = self.gain_interval(champion_scores, candidate_scores)
        fresh = len(candidate_scores) - 1 if self.rule != "greedy" else 0
        seeds = f"{fresh} fresh seed{'s' if fresh > 1 else ''}" if fresh else "one training"
        if verdict == "keep":
            if self.verdict(champion_scores, candidate_scores) == "keep":
                return f"kept: better on {seeds} by {gain.mean:.4f} ± {gain.half:.4f}"
            tied = f"kept: shorter, and level with the champion on {seeds}"
            return f"{tied} ({gain.mean:+.4f} ± {gain.half:.4f})"
        sigmas = f"{abs(gain.mean) / self.sigma:.1f} sigma"
        if not fresh:
            near = gain.mean > -self.sigma / 2
            told = "no better than the champion" if near else f"worse than the champion by {sigmas}"
        elif gain.mean > 0:
            told = f"better by only {sigmas} on {seeds}, which can be luck"
        elif candidate_scores[0] < fmean(champion_scores):
            told = "beat the champion once, lost on fresh seeds"
        else:
            told = f"worse than the champion by {sigmas} on {seeds}"
        return f"{told}, reverted"

    def _compared(
        self, champion_scores: Sequence[float], candidate_scores: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        champion, candidate = _finite(champion_scores), _finite(candidate_scores)
        if self.rule == "greedy":
            return champion[:1], candidate[:1]
        return champion, candidate[1:] or candidate

    def _error(self, m: int, n: int) -> float:
        """Standard error of the difference between means of ``m`` and ``n`` scores."""
        return self.sigma * math.sqrt(1 / m + 1 / n)


def reward(
    gain: float | None, half: float | None, sigma: float, *, status: str = "ok"
) -> float | None:
    """The reward that a trial gives to the prior; None for no reward.

    The gain is shrunk by its uncertainty (its posterior mean when gains are normal about 0 with
    ``EFFECT_SIZE`` sigma), put in units of 5 sigma and clipped. A trial that the user or the
    machine interrupted, or that was never trained, has no reward.
    """
    if status in ("crashed", "oom", "overtime", "invalid"):
        return REWARD_LOW
    if status != "ok" or gain is None or half is None:
        return None
    prior, error = (EFFECT_SIZE * sigma) ** 2, (half / t_quantile(0.975)) ** 2
    shrunk = gain * prior / (prior + error)
    return min(REWARD_HIGH, max(REWARD_LOW, shrunk / (REWARD_UNIT * sigma)))


def _finite(scores: Sequence[float]) -> list[float]:
    if not all(math.isfinite(score) for score in scores):
        raise ValueError(f"scores must be finite, not {list(scores)}")
    return [float(score) for score in scores]
