"""The rule by which the prior learns, on arrays.

Of the K categories that are available, category k is drawn with probability

    q_k = (1 - eps) pi_k + eps / K,    pi = softmax(theta + X w), the largest cut to ``MOST``.

theta is learnt within the campaign. Row k of X is what ``features`` says of the category's own
history, and w are weights that were learnt over many simulated campaigns. Two brakes come off the
exponent: what ``Learner.held`` and ``Learner.spared`` say.

A trial of category c, drawn with probability q_c, with reward r, moves theta by REINFORCE (R. J.
Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning,
Machine Learning 8, 1992), with the score of the mixture, since the mixture is what was drawn from:

    theta_k += alpha (A g_k / q_c + entropy dH/dtheta_k) - decay theta_k
    A   = (r - b) / s                               advantage, limited
    g_k = dq_c/dtheta_k = (1 - eps) pi_c (1[k = c] - pi_k)
    dH/dtheta_k = -pi_k (log pi_k + H)              H: entropy of pi

both as they are where no pi is cut; see ``slope`` for the rest. What is not available does not
decay.

q_c is the propensity that was logged when c was drawn and pi is the policy of today, over what was
available then, so that 1 / q_c is an importance weight (D. G. Horvitz and D. J. Thompson, Journal
of the American Statistical Association 47, 1952); it is capped. On policy g_k / q_c is the gradient
of log q_c. The baseline b and the scale s are of earlier trials only: a baseline that depended on r
would bias the step. w moves by the same gradient: dq_c/dw = sum_k g_k X_k.

Where a model takes its pick, categories a_1, a_2, ... are drawn one after the other, each of those
that are left (R. L. Plackett, The analysis of permutations, Applied Statistics 24, 1975). Then the
action is the whole draw: g_k / q_c is replaced by the gradient of its log-probability,

    sum_j d log q_{a_j} / d theta_k,    q over what is left at the j-th place,

and 1 / q_c by the ratio of its probability today to the one that was logged. Which of them the
model then takes is no choice of the prior's. The reward counts for that one in its history.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

EPSILON = 0.02
"""Share of draws that are uniform, so that every category stays possible."""
MOST = 0.88
"""The most that pi gives one category: what is said of equal ones by luck must not end the search.
What is above goes to the others, in their proportions."""
MOST_WEIGHT = 2.0
"""Cap of 1 / q_c, in multiples of what it is if c is drawn by the policy of today."""
ADVANTAGE_LIMIT, FEATURE_LIMIT = 3.0, 3.0
MEMORY, FIRST = 20.0, 3.0
"""Window of the baseline and of a category's mean, in rewards, so that both follow what changes;
and for how many rewards of 0 the baseline counts at the start."""
REWARD_SD, LEAST_SD, SD_FIRST = 0.2, 0.01, 10.0
"""Standard deviation of rewards at the start, its lower bound, and for how many it counts."""
OUTLIER = 10.0
"""Rewards are clipped at this many standard deviations from the baseline."""
CAUTION, SHARE_CAUTION = 1.0, 3.0
"""Shrink gains and shares of a category as if so many average trials of it had been seen, too."""
LATELY = 0.3
"""Share of the last reward in the mean of the last ones."""
FADING = 0.9
"""Factor per trial on how recent a category's last success is."""
FEATURES = (
    "mean gain", "last gains", "gain of losses", "evidence", "untried", "last success is recent",
    "share of failures", "champion moved since", "mean gain x share spent",
    "untried x share spent",
)  # fmt: skip
WEIGHTS = (0.81, 2.26, 4.6, 0.72, 1.81, -1.74, -0.65, 0.13, -0.02, 0.3)
"""Learnt by ``python -m benchmarks.prior --train``; all zero is plain REINFORCE."""
RISE, RELEASE = 1.8, 0.9
"""A category's probability rises by at most this factor with one trial, since one win may have used
it up; and what is left of that brake after each further trial of the category."""
SPARED = math.log(4)
"""Brake on a category that a model calls used up: it is drawn about a quarter as often."""
ROUNDS = 50
"""Most in which brakes are set; a few do."""
_HISTORY = 9


class Rule(NamedTuple):
    """How fast it learns and forgets."""

    step: float = 0.5
    """alpha"""
    decay: float = 0.03
    entropy: float = 0.1
    tune: float = 0.005
    """Step of the weights, which also decay to those that they began with."""


RULE = Rule()


class Learner:
    """The rule on arrays: one campaign, or many at once along leading axes.

    Categories are numbers, along the last axis. ``Prior`` gives them names.
    """

    def __init__(
        self,
        categories: int,
        runs: tuple[int, ...] = (),
        weights: npt.ArrayLike = WEIGHTS,
        rule: Rule = RULE,
    ) -> None:
        """``weights`` may differ by run; they are the last axis."""
        self.rule = rule
        self.theta = np.zeros((*runs, categories))
        self.held, self.spared = np.zeros_like(self.theta), np.zeros_like(self.theta)
        """Brakes: of a category that has just won, of one that is said to have nothing left."""
        self.history = np.zeros((_HISTORY, *runs, categories))
        """Tries, those with a reward, those that failed; mean and recent mean of the rewards; mean
        and number of those that were neither kept nor failed; how recent the last success is;
        whether the champion moved since the last try."""
        self.first_weights = np.array(np.broadcast_to(weights, (*runs, len(FEATURES))), float)
        self.weights = self.first_weights.copy()
        self.rewards = np.zeros(runs)
        self.baseline, self.variance = np.zeros(runs), np.full(runs, REWARD_SD**2)
        self.spent: npt.ArrayLike = np.zeros(runs)
        """Share of the campaign that is over, which the caller sets."""

    def features(self) -> Numbers:
        """What the weights see of each category: ``FEATURES`` as the last axis.

        Gains are in standard deviations of all rewards above their baseline, limited, and shrunk
        while few are known; "evidence" is the mean gain in units of two standard errors. "gain of
        losses" is that of what was neither kept nor failed, above the other categories': little
        noise is in it, as luck makes few losses large. Shares of failures are those above what is
        usual.
        """
        tries, trained, failed, mean, lately, loss, losses, recent, moved = self.history
        baseline, scale = self.baseline[..., None], np.sqrt(self.variance)[..., None, None]
        found = np.empty((*tries.shape, len(FEATURES)))
        found[..., 0] = (mean - baseline) * trained / (trained + CAUTION)
        found[..., 1] = (lately - baseline) * trained / (trained + CAUTION)
        usual = (loss * losses).sum(-1, keepdims=True) / (1 + losses.sum(-1, keepdims=True))
        found[..., 2] = (loss - usual) * losses / (losses + CAUTION)
        found[..., 3] = (mean - baseline) * np.sqrt(np.minimum(trained, MEMORY)) / 2
        found[..., :4] = np.clip(found[..., :4] / scale, -FEATURE_LIMIT, FEATURE_LIMIT)
        found[..., 4] = 1 / np.sqrt(1 + tries)
        found[..., 5] = recent
        usual = failed.sum(-1, keepdims=True) / (1 + tries.sum(-1, keepdims=True))
        found[..., 6] = (failed - tries * usual) / (tries + SHARE_CAUTION)
        found[..., 7] = moved
        found[..., 8:] = found[..., [0, 4]] * np.asarray(self.spent)[..., None, None]
        return found

    def policy(
        self, available: npt.NDArray[np.bool_] | None = None, seen: Numbers | None = None
    ) -> tuple[Numbers, Numbers]:
        """pi and q; 0 where a category is not available."""
        pi = cut(self._softmax(available, seen))
        free = np.ones(pi.shape, bool) if available is None else available
        return pi, (1 - EPSILON) * pi + EPSILON * free / free.sum(-1, keepdims=True)

    def _softmax(
        self, available: npt.NDArray[np.bool_] | None = None, seen: Numbers | None = None
    ) -> Numbers:
        """pi before the largest is cut."""
        seen = self.features() if seen is None else seen
        logits = self.theta + (seen @ self.weights[..., None])[..., 0] - self.held - self.spared
        if available is not None:
            logits = np.where(available, logits, -np.inf)
        pi: Numbers = np.exp(logits - logits.max(-1, keepdims=True))
        pi /= pi.sum(-1, keepdims=True)
        return pi

    def update(
        self,
        chosen: npt.ArrayLike,
        reward: npt.ArrayLike,
        propensity: npt.ArrayLike | None = None,
        available: npt.NDArray[np.bool_] | None = None,
        kept: npt.ArrayLike | None = None,
        failed: npt.ArrayLike = False,
        drawn: npt.ArrayLike | None = None,
        rise: float = math.inf,
    ) -> None:
        """Learn from a trial of each run; see ``Prior.update``.

        Args:
            drawn: categories in the order of an ordered draw, along the last axis; ``propensity``
                is then that of all of it.
            rise: see ``RISE``.
        """
        seen = self.features()
        pi, q = self.policy(available, seen)
        hit = np.arange(pi.shape[-1]) == np.asarray(chosen)[..., None]
        free = pi > 0 if available is None else available
        spread, before = np.sqrt(self.variance), np.reshape(q[hit], self.rewards.shape)
        if drawn is None:
            now, direction = before, score(pi, hit)
        else:
            now, direction = self.of_draw(np.asarray(drawn), free, seen)
            direction = now[..., None] * direction
        logged = now if propensity is None else np.asarray(propensity)
        weight = np.minimum(1 / logged, MOST_WEIGHT / now)
        reach = OUTLIER * spread
        reward = np.clip(reward, self.baseline - reach, self.baseline + reach)
        advantage = (reward - self.baseline) / spread
        advantage = np.clip(advantage, -ADVANTAGE_LIMIT, ADVANTAGE_LIMIT)
        gradient = (advantage * weight)[..., None] * direction
        log_pi = np.log(pi, out=np.zeros_like(pi), where=pi > 0)
        step, decay, bonus, tune = self.rule
        ascent = gradient - bonus * slope(pi, log_pi)
        self.theta += step * ascent - decay * self.theta * free
        self.weights += tune * (gradient[..., None, :] @ seen)[..., 0, :]
        self.weights -= decay * tune * (self.weights - self.first_weights)
        self.rewards += 1
        self.baseline += (reward - self.baseline) / np.minimum(MEMORY, FIRST + self.rewards)
        off = (reward - self.baseline) ** 2 - self.variance
        self.variance += off / np.minimum(MEMORY, SD_FIRST + self.rewards)
        self.variance = np.maximum(LEAST_SD**2, self.variance)
        kept = np.asarray(reward > 0 if kept is None else kept)
        _, trained, _, mean, lately, loss, losses, _, _ = self.history
        is_loss = hit & ~(kept | np.asarray(failed))[..., None]
        trained += hit
        losses += is_loss
        more = reward[..., None] - self.history[3:6]
        mean += hit * more[0] / np.clip(trained, 1, MEMORY)
        lately += hit * more[1] * np.maximum(LATELY, 1 / np.maximum(1, trained))
        loss += is_loss * more[2] / np.maximum(1, losses)
        self.note(hit, kept, failed)
        if math.isfinite(rise):
            order = np.asarray(chosen)[..., None] if drawn is None else np.asarray(drawn)
            tried = (np.arange(pi.shape[-1]) == order[..., None]).any(-2)
            self._hold(tried, free, rise * q)

    def of_draw(
        self, drawn: npt.NDArray[np.int_], free: npt.NDArray[np.bool_], seen: Numbers | None = None
    ) -> tuple[Numbers, Numbers]:
        """Probability of an ordered draw without replacement, and the gradient of its logarithm by
        theta.

        Args:
            drawn: numbers of categories, in order, along the last axis.
            free: what the first was drawn from.
        """
        chance, gradient = np.ones(self.theta.shape[:-1]), np.zeros_like(self.theta)
        for place in np.moveaxis(drawn, -1, 0):
            pi, q = self.policy(free, seen)
            hit = np.arange(pi.shape[-1]) == place[..., None]
            share = (q * hit).sum(-1)
            chance = chance * share
            gradient += score(pi, hit) / share[..., None]
            free = free & ~hit
        return chance, gradient

    def _hold(
        self, tried: npt.NDArray[np.bool_], free: npt.NDArray[np.bool_], most: Numbers
    ) -> None:
        """Brake the categories ``tried`` so that none is more probable than ``most`` says."""
        self.held = np.where(tried, RELEASE * self.held, self.held)
        limit = (most - EPSILON / free.sum(-1, keepdims=True)) / (1 - EPSILON)
        limit = np.clip(limit, 1e-12, 1 - 1e-12)
        for _ in range(ROUNDS):  # what one is taken gives the others
            bare = np.clip(self._softmax(free), 1e-300, 1 - 1e-12)
            pi = cut(bare)
            over = tried & (pi > limit * (1 + 1e-9))
            if not over.any():
                return
            odds = bare / (1 - bare) * (1 - limit) / limit
            self.held += np.log(np.maximum(odds, pi / limit), out=np.zeros_like(pi), where=over)

    def note(self, hit: npt.NDArray[np.bool_], kept: npt.ArrayLike, failed: npt.ArrayLike) -> None:
        """Remember a try of the categories ``hit``, which need not have had a reward."""
        tries, _, failures, _, _, _, _, recent, moved = self.history
        kept = np.asarray(kept)[..., None]
        tries += hit
        failures += hit & np.asarray(failed)[..., None]
        recent *= FADING
        np.copyto(recent, 1.0, where=hit & kept)
        np.copyto(moved, 0.0, where=hit)
        np.copyto(moved, 1.0, where=kept & ~hit & (tries > 0))


def cut(pi: Numbers) -> Numbers:
    """With no share above ``MOST``, if there is another to take the rest."""
    top = pi.max(-1, keepdims=True)
    others = np.where(pi == top, 0.0, pi)
    left = others.sum(-1, keepdims=True)
    shared = np.where(pi == top, MOST, others * (1 - MOST) / np.maximum(1e-300, left))
    return np.where((top > MOST) & (left > 0), shared, pi)


def slope(pi: Numbers, values: Numbers) -> Numbers:
    """Gradient of sum_c pi_c values_c by theta.

    A category that is cut at ``MOST`` depends on no theta, and the others share what is left: their
    softmax is one of their own.
    """
    loose = pi * (pi < MOST)
    whole = np.maximum(1e-300, loose.sum(-1, keepdims=True))
    found: Numbers = loose * (values - (loose * values).sum(-1, keepdims=True) / whole)
    return found


def score(pi: Numbers, hit: npt.NDArray[np.bool_]) -> Numbers:
    """dq_c/dtheta of the category ``hit``; over q_c it is the gradient of log q_c."""
    return (1 - EPSILON) * slope(pi, hit.astype(float))
