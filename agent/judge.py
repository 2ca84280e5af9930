"""Keep rule, level of a trial, reward: pure functions of the differences of a trial's heats.

A difference is the champion's cost minus the candidate's within one heat (bits per byte), so
positive is better; without an ``objective`` the cost is val_bpb. ``Noise`` says how far the
differences of one edit scatter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import scipy  # loads its parts when they are used: special takes as long as numpy

Rule = Literal["confirm", "strict", "greedy"]
Decision = Literal["keep", "revert", "heat"]

MAX_HEATS = {"confirm": 6, "strict": 8, "greedy": 1}
"""After this many heats the test decides."""
LEAST_HEATS = 2
"""No keep before so many, because nobody can say whether a single difference is a wild one."""
FALSE_KEEPS = {"confirm": 0.05, "strict": 0.01}
"""Largest share of keeps among edits without any gain."""
FALSE_SHARE = {"confirm": 0.20, "strict": 0.05}
"""Largest expected share of false keeps among all keeps of a campaign."""
SPENDING_POWER = 1.6
"""How fast the level falls while nothing is kept; see ``trial_level``."""
PASS_SCORE, PASS_SHARE = -0.25, 0.6
"""A candidate passes its first heat from this z-score on; so often does an edit without gain."""
CALIBRATION = 0.6
"""Factor on the level with which the whole test, all looks together, keeps that share."""
WILD = 5.0
"""A difference this many scales from the median of its trial counts as if it were that far."""
QUARANTINE_SCALES, QUARANTINE_SHARE = 8.0, 0.03
"""A gain above both this many scales and this share of the champion's score is implausible."""
SAME_SPEED = 0.03
"""Two programs are equally fast if the seconds of the same steps differ by no more than this."""
REWARD_LOW, REWARD_HIGH = -0.2, 1.0
OVERSIZE = "oversize"
"""Status of a candidate that takes more memory than the objective allows."""
FAILURES = ("crashed", "oom", "overtime", "invalid", OVERSIZE)


@dataclass(frozen=True)
class Noise:
    """The spread of the differences of one edit, for a kind of edit."""

    scale: float
    """Typical standard deviation, bits per byte."""
    dof: float
    """Degrees of freedom: large if all edits of the kind have the same spread."""


@dataclass(frozen=True)
class Estimate:
    """A mean and the half-width of its 95 % interval, bits per byte."""

    mean: float
    half: float


@dataclass(frozen=True)
class Judge:
    """A group-sequential test of one edit, which asks for one heat at a time.

    After each heat the mean difference is tested with a moderated t (Smyth, Statistical
    Applications in Genetics and Molecular Biology 3, 2004): the variance is that of the trial's own
    differences and that of its kind of edit, weighed by their degrees of freedom. The boundary of a
    keep narrows as ``heats ** 0.25`` (Wang and Tsiatis, Biometrics 43, 1987), that of a revert
    rises in a straight line to the last one, so that clear cases end early. ``greedy`` keeps what
    was better in one heat.
    """

    rule: Rule
    noise: Noise
    ties_left: float | None = None
    """What near-ties may still cost, bits per byte; None for the noise's scale."""

    def __post_init__(self) -> None:
        if self.rule not in MAX_HEATS:
            raise ValueError(f"keep rule {self.rule!r}; there are {', '.join(MAX_HEATS)}")
        if not (math.isfinite(self.noise.scale) and self.noise.scale > 0):
            raise ValueError(f"the noise must be positive and finite, not {self.noise.scale}")
        if not self.noise.dof >= 1:
            raise ValueError(f"dof must be at least 1, not {self.noise.dof}")

    def verdict(
        self, differences: Sequence[float], *, size_delta: int = 0, level: float | None = None
    ) -> Decision:
        """``keep``, ``revert``, or ``heat`` for one more.

        Args:
            differences: in the order taken.
            size_delta: by how many statements the candidate is longer; a near-tie is kept only if
                it is shorter.
            level: share of false keeps allowed to this trial; None for the rule's own.

        Raises:
            ValueError: a difference is not finite, or the level is not between 0 and 1.
        """
        _refuse_unusable(differences, level)
        if not differences:
            return "heat"
        if self.rule == "greedy":
            return "keep" if differences[0] > 0 else "revert"
        level = min(FALSE_KEEPS[self.rule] if level is None else level, FALSE_KEEPS[self.rule])
        count, last = len(differences), MAX_HEATS[self.rule]
        to_win = _to_win(level)
        score = self._score(differences)
        if count >= LEAST_HEATS and score > to_win * _early(count, last):
            return "keep"
        if count >= last:
            return "keep" if self.is_tie(differences, size_delta) else "revert"
        to_go_on = PASS_SCORE + (to_win - PASS_SCORE) * (count - 1) / (last - 1)
        may_tie = size_delta < 0 and self.tie_cost(differences) <= 2 * self._ties_left
        return "heat" if score >= to_go_on or may_tie else "revert"

    def gain(self, differences: Sequence[float]) -> Estimate:
        """Mean difference with its interval; there must be at least one."""
        mean, error, dof = self.moderated(differences)
        return Estimate(mean, float(scipy.special.stdtrit(dof, 0.975)) * error)

    def corrected_gain(self, differences: Sequence[float], effect: float) -> Estimate:
        """The gain that is believed of an edit that was selected for its gain.

        The posterior mean if gains of edits are normal about 0 with standard deviation ``effect``:
        a posterior does not depend on how trials are selected or stopped (Dawid, Selection
        paradoxes of Bayesian inference, 1994), so it is as good as that assumption.
        """
        mean, error, dof = self.moderated(differences)
        half = float(scipy.special.stdtrit(dof, 0.975)) * math.sqrt(shrunk(error**2, error, effect))
        return Estimate(shrunk(mean, error, effect), half)

    def tie_cost(self, differences: Sequence[float]) -> float:
        """The most that the edit costs, bits per byte, with 90 % confidence.

        At least its standard error, because ties are selected for looking cheap.
        """
        mean, error, dof = self.moderated(differences)
        return max(error, float(scipy.special.stdtrit(dof, 0.9)) * error - mean)

    def is_tie(self, differences: Sequence[float], size_delta: int) -> bool:
        """Whether a shorter program costs no more than what near-ties may still cost."""
        return size_delta < 0 and self.tie_cost(differences) <= self._ties_left

    def too_good(self, difference: float, champion_bpb: float) -> bool:
        """Whether a difference is more likely an error than an improvement."""
        limit = max(QUARANTINE_SCALES * self.noise.scale, QUARANTINE_SHARE * champion_bpb)
        return difference > limit

    def words(
        self, verdict: Literal["keep", "revert"], differences: Sequence[float], tie: bool = False
    ) -> str:
        """The verdict in plain words, with what it used; ``tie`` if it was kept for its size."""
        gain, count = self.gain(differences), len(differences)
        told = f"{'better' if gain.mean > 0 else 'worse'} by {abs(gain.mean):.4f} ± {gain.half:.4f}"
        told = told if gain.mean else f"level with the champion, ± {gain.half:.4f},"
        told += f" in {count} heat{'s' if count > 1 else ''}"
        if verdict == "keep":
            return (
                f"kept: shorter, and level with the champion ({told})" if tie else f"kept: {told}"
            )
        return f"{told}{', which can be luck' if gain.mean > 0 else ''}, reverted"

    @property
    def _ties_left(self) -> float:
        return self.noise.scale if self.ties_left is None else self.ties_left

    def _score(self, differences: Sequence[float]) -> float:
        """The moderated t as the z-score of the same probability."""
        mean, error, dof = self.moderated(differences)
        return float(scipy.special.ndtri(scipy.special.stdtr(dof, mean / error)))

    def moderated(self, differences: Sequence[float]) -> tuple[float, float, float]:
        """Mean difference, its standard error, and the degrees of freedom of that error."""
        kept, noise = self._without_wild(differences), self.noise
        mean, dof = fmean(kept), noise.dof + len(kept) - 1
        squares = noise.dof * noise.scale**2 + sum((d - mean) ** 2 for d in kept)
        return mean, math.sqrt(squares / dof / len(kept)), dof

    def _without_wild(self, differences: Sequence[float]) -> list[float]:
        """The differences, each within reach of their median; one training may have diverged."""
        if len(differences) < 3:  # of two, nobody can say which is wild
            return list(differences)
        middle = median(differences)
        spread = median(abs(d - middle) for d in differences) / 0.6745  # SD, if they are normal
        reach = WILD * max(self.noise.scale, spread)
        return [min(max(d, middle - reach), middle + reach) for d in differences]


def least_gain(rule: Rule, heats: int) -> float:
    """The mean difference that is kept after so many heats, in scales of a noise that is known: at
    the level that a campaign starts with, which falls while nothing is kept."""
    if rule == "greedy":
        return 0.0
    level = trial_level(rule, ()) or FALSE_KEEPS[rule]
    return _to_win(level) * _early(heats, MAX_HEATS[rule]) / math.sqrt(heats)


def _to_win(level: float) -> float:
    """The z-score that is kept after all heats."""
    return -float(scipy.special.ndtri(CALIBRATION * level))


def _early(count: int, last: int) -> float:
    """How many times as large it has to be after ``count`` of ``last`` heats."""
    return float(max(1.0, last / count) ** 0.25)


@dataclass(frozen=True)
class Spent:
    """What trials have spent of the share of false keeps that is allowed, and earned."""

    passed: int = 0
    """How many passed their first heat."""
    earned: tuple[int, ...] = (0,)
    """How many had, at the start and at each keep."""

    def after(self, past: Iterable[tuple[bool, bool]]) -> Spent:
        """After more that were trained: of each whether it passed, and was kept for its gain."""
        count, earned = self.passed, list(self.earned)
        for passed, kept in past:
            count += passed or kept
            if kept:
                earned.append(count)
        return Spent(count, tuple(earned))


def trial_level(
    rule: Rule, past: Iterable[tuple[bool, bool]], spent: Spent = Spent()
) -> float | None:
    """Share of false keeps that the next trial may have; None for ``greedy``, which bounds none.

    The campaign starts with ``FALSE_SHARE`` to spend, and earns it again with every keep. A trial
    that passes its first heat spends a part of what is left of each: after j such trials
    ``(j + 1) ** -SPENDING_POWER`` of it, over the sum of all these parts. One that fails its first
    heat spends nothing, since it could not have been kept; most edits are worse, so a long series
    of those costs no power. (Generalised alpha investing: LORD++ of Ramdas et al., 2017, with the
    discarding of Tian and Ramdas, 2019.)

    Args:
        past: of each earlier trial that was trained, null trials apart: whether it passed its first
            heat, and whether it was kept for its gain.
        spent: by those before them.
    """
    if rule == "greedy":
        return None
    spent = spent.after(past)
    share: float = sum((spent.passed - before + 1.0) ** -SPENDING_POWER for before in spent.earned)
    return min(
        FALSE_KEEPS[rule],
        PASS_SHARE * FALSE_SHARE[rule] * share / float(scipy.special.zeta(SPENDING_POWER)),
    )


def shrunk(mean: float, error: float, effect: float) -> float:
    """Posterior mean of a gain: its estimate, weighed by what is known of gains in general.

    Args:
        error: standard error of ``mean``.
        effect: standard deviation of the true gains of such edits. An edit can do far more harm
            than good, so that a loss is taken for as likely as it is large.
    """
    usual = max(effect, -mean)
    return mean * usual**2 / (usual**2 + error**2)


def reward(gain: float | None, unit: float, *, status: str = "ok") -> float | None:
    """What a trial teaches the prior: its believed gain in ``unit`` bits per byte, clipped.

    The unit is the same for all kinds of edit. None if the user or the machine interrupted the
    trial, or if it was never trained.
    """
    if status in FAILURES:
        return REWARD_LOW
    if gain is None:
        return None
    return min(REWARD_HIGH, max(REWARD_LOW, gain / unit))


def most_false_keeps(nulls: int, kept: int) -> float:
    """Upper 95 % limit on the share of false keeps, by null trials (Clopper and Pearson, 1934)."""
    return 1.0 if kept >= nulls else float(scipy.special.betaincinv(kept + 1, nulls - kept, 0.95))


def _refuse_unusable(differences: Sequence[float], level: float | None) -> None:
    if not all(math.isfinite(difference) for difference in differences):
        raise ValueError(f"differences must be finite, not {list(differences)}")
    if level is not None and not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, not {level}")
