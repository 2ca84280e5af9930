"""Families of simulated campaigns: what an edit of each category would bring, many at once.

A trial crashes, or wins, or is a loss with noise; its reward is clipped as the loop's is
(``agent.judge.reward``), so most rewards lie a little below zero and few are large. Their numbers
were set by eye to look like published campaigns (see ``published``: of what trained or crashed 12 %
were kept and 19 % crashed) and like a long one of the loop's own deck and tuner: they are made up.

All that chance decides is drawn beforehand for each trial and category, so that all arms meet the
same luck: they are compared pair by pair. An arm is scored by the expected reward of what it chose,
which is known here, rather than by the reward that luck gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import norm

from agent.judge import REWARD_HIGH, REWARD_LOW

Array = np.ndarray

SYNTHETIC = ("stationary", "switch", "drift", "exhausting", "equal", "heavy", "crash")
LOMAX = 1.2
"""Tail of the sizes in the family ``heavy``: their variance is infinite before they are clipped."""


@dataclass(frozen=True)
class Outcome:
    """What one trial of each campaign came to; an array has one entry a campaign."""

    reward: Array
    crashed: Array
    kept: Array


class World(Protocol):
    """Campaigns that go on side by side, one trial of each at a time."""

    steps: int
    categories: int
    count: int

    def available(self) -> Array:
        """[campaigns, categories]: which may be chosen now."""

    def expected(self) -> Array:
        """[campaigns, categories]: the expected reward of each category now."""

    def best(self) -> Array:
        """What the oracle chooses now."""

    def pull(self, choice: Array) -> Outcome: ...


def _clipped_normal(centre: Array, scale: Array) -> Array:
    """Mean of a normal variable clipped to the range of rewards."""
    low, high = (REWARD_LOW - centre) / scale, (REWARD_HIGH - centre) / scale
    inside = centre * (norm.cdf(high) - norm.cdf(low)) + scale * (norm.pdf(low) - norm.pdf(high))
    return inside + REWARD_LOW * norm.cdf(low) + REWARD_HIGH * norm.sf(high)


def _logit(p: Array) -> Array:
    return np.log(p / (1 - p))


class Simulated:
    """Campaigns of one synthetic family.

    Each category has a share of crashes, a share of wins, a mean size of a win, and a loss; noise
    is one number a campaign. ``switch``: once or twice the categories change places. ``drift``: the
    shares of wins walk at random. ``exhausting``: a category's share of wins shrinks with each of
    its wins, and a little with each of its trials. ``equal``: no category differs. ``heavy``: wins
    are rare and of wild sizes. ``crash``: crashes differ from hardly any to most trials.
    """

    def __init__(
        self, family: str, steps: int, categories: int, count: int, salt: int, repeats: int = 1
    ) -> None:
        """``repeats``: how often each of the ``count // repeats`` campaigns is there."""
        if family not in SYNTHETIC:
            raise ValueError(f"family {family!r}; there are {', '.join(SYNTHETIC)}")
        self.family, self.steps, self.categories, self.count = family, steps, categories, count
        rng = np.random.default_rng([SYNTHETIC.index(family), steps, categories, salt])
        shape = (count // repeats, categories)
        crash = rng.beta(1.5, 9.0, shape)
        win = 0.01 + 0.35 * rng.beta(0.5, 2.3, shape)
        size = 0.2 * np.exp(0.6 * rng.standard_normal(shape))
        loss = -0.2 * rng.random(shape)
        noise = 0.02 + 0.08 * rng.random((len(crash), 1))
        if family == "heavy":
            win = 0.01 + 0.12 * rng.beta(0.6, 1.8, shape)
        if family == "crash":
            crash = rng.beta(0.7, 0.9, shape) * 0.8
        if family == "equal":
            crash, win, size, loss = (
                each[:, :1].repeat(categories, 1) for each in (crash, win, size, loss)
            )
        win = np.broadcast_to(win, (steps, *shape))
        if family == "drift":
            walk = rng.standard_normal((steps, *shape)) * 2.5 / np.sqrt(steps)
            win = 0.42 / (1 + np.exp(-(_logit(win / 0.42) + np.cumsum(walk, axis=0))))
        if family == "switch":
            win, crash, size, loss = self._switched(rng, win, crash, size, loss)
        self._crash, self._win = np.broadcast_to(crash, win.shape), win * (1 - crash)
        self._luck = rng.random(win.shape)
        self._size = self._sizes(rng.random(win.shape), size)
        self._loss = loss + noise * rng.standard_normal(win.shape)
        self._size_mean, self._loss_mean = self._mean_size(size), _clipped_normal(loss, noise)
        self._expected = self._mean(self._crash, self._win, self._size_mean, self._loss_mean)
        self._who, self._now = np.arange(count) // repeats, 0
        self._wins, self._tries = np.zeros((count, categories)), np.zeros((count, categories))

    def _switched(self, rng: np.random.Generator, *values: Array) -> list[Array]:
        """Each with an axis of steps before: whose numbers a category has then."""
        full = [np.broadcast_to(each, (self.steps, *each.shape[-2:])).copy() for each in values]
        for row in range(full[0].shape[1]):
            for _ in range(rng.integers(1, 3)):
                at = rng.integers(self.steps // 5, 4 * self.steps // 5 + 1)
                order = rng.permutation(self.categories)
                for each in full:
                    each[at:, row] = each[at:, row][:, order]
        return full

    def _sizes(self, drawn: Array, size: Array) -> Array:
        if self.family == "heavy":
            return size * ((1 - drawn) ** (-1 / LOMAX) - 1)
        return -size * np.log1p(-drawn)

    def _mean_size(self, size: Array) -> Array:
        if self.family == "heavy":
            return size / (LOMAX - 1) * (1 - (1 + REWARD_HIGH / size) ** (1 - LOMAX))
        return size * (1 - np.exp(-REWARD_HIGH / size))

    @staticmethod
    def _mean(crash: Array, win: Array, size: Array, loss: Array) -> Array:
        return crash * REWARD_LOW + win * size + (1 - crash - win) * loss

    def _fading(self) -> Array:
        """By what the shares of wins have shrunk."""
        return 0.6**self._wins * 0.97**self._tries

    def available(self) -> Array:
        return np.ones((self.count, self.categories), dtype=bool)

    def expected(self) -> Array:
        if self.family != "exhausting":
            return self._expected[self._now, self._who]
        win = self._win[self._now, self._who] * self._fading()
        crash = self._crash[self._now, self._who]
        return self._mean(crash, win, self._size_mean[self._who], self._loss_mean[self._who])

    def best(self) -> Array:
        """The best category now. No order is better, as no expected reward rises when chosen."""
        return np.argmax(self.expected(), axis=1)

    def pull(self, choice: Array) -> Outcome:
        at, mine = (self._now, self._who, choice), (np.arange(self.count), choice)
        luck, crash, win = self._luck[at], self._crash[at], self._win[at]
        if self.family == "exhausting":
            win = win * self._fading()[mine]
            self._tries[mine] += 1
        crashed, kept = luck < crash, (luck >= crash) & (luck < crash + win)
        self._wins[mine] += kept
        reward = np.where(crashed, REWARD_LOW, np.where(kept, self._size[at], self._loss[at]))
        self._now = min(self._now + 1, self.steps - 1)
        return Outcome(np.clip(reward, REWARD_LOW, REWARD_HIGH), crashed, kept)
