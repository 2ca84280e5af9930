"""Families of simulated campaigns: what an edit of each category would bring, many at once.

A trial crashes, or wins, or is a loss with noise; its reward is clipped as the loop's is
(``agent.judge.reward``), so most rewards lie a little below zero and few are large. Published
campaigns of this kind were the measure: of 1,683 trials that trained or crashed 12 % were kept and
19 % crashed, and the median trained edit cost .0018 bits per byte where a good one brings .01.

All that chance decides is drawn beforehand for each trial and category, so that all arms meet the
same luck: they are compared pair by pair. An arm is scored by the expected reward of what it chose,
which is known here, rather than by the reward that luck gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

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

    def __init__(self, family: str, steps: int, categories: int, count: int, salt: int,
                 repeats: int = 1) -> None:
        """``repeats``: how often each of the ``count // repeats`` campaigns is there."""
        if family not in SYNTHETIC:
            raise ValueError(f"family {family!r}; there are {', '.join(SYNTHETIC)}")
        self.family, self.steps, self.categories, self.count = family, steps, categories, count
        count //= repeats
        rng = np.random.default_rng([SYNTHETIC.index(family), steps, categories, salt])
        shape = (count, categories)
        self._crash = rng.beta(1.5, 9.0, shape)
        win = 0.01 + 0.4 * rng.beta(0.6, 2.4, shape)
        self._size = 0.2 * np.exp(0.6 * rng.standard_normal(shape))
        self._loss = -0.12 * rng.random(shape)
        self._noise = 0.02 + 0.06 * rng.random((count, 1))
        if family == "heavy":
            win = 0.01 + 0.12 * rng.beta(0.6, 1.8, shape)
        if family == "crash":
            self._crash = rng.beta(0.7, 0.9, shape) * 0.8
        if family == "equal":
            for each in (self._crash, win, self._size, self._loss):
                each[:] = each[:, :1]
        self._win = np.broadcast_to(win, (steps, *shape))
        if family == "drift":
            walk = rng.standard_normal((steps, *shape)) * 2.5 / np.sqrt(steps)
            self._win = 0.42 / (1 + np.exp(-(_logit(win / 0.42) + np.cumsum(walk, axis=0))))
        self._order = self._orders(rng, count)
        self._luck = rng.random((steps, *shape))
        self._draws = rng.random((steps, *shape))
        self._normal = rng.standard_normal((steps, *shape))
        for name, axis in self._DRAWN.items():
            drawn = getattr(self, name)
            setattr(self, name, drawn if drawn is None else np.repeat(drawn, repeats, axis))
        self._loss_mean = _clipped_normal(self._loss, self._noise)
        self._size_mean = self._mean_size()
        self._wins, self._tries = np.zeros_like(self._loss), np.zeros_like(self._loss)
        self._rows, self._now = np.arange(self.count), 0

    _DRAWN: ClassVar = {
        "_crash": 0, "_size": 0, "_loss": 0, "_noise": 0,
        "_win": 1, "_order": 1, "_luck": 1, "_draws": 1, "_normal": 1,
    }  # fmt: skip
    """What was drawn, and along which axis its campaigns lie."""

    def _orders(self, rng: np.random.Generator, count: int) -> Array | None:
        """[steps, campaigns, categories]: whose numbers a category has; None: its own."""
        if self.family != "switch":
            return None
        order = np.tile(np.arange(self.categories), (self.steps, count, 1))
        for row in range(count):
            for _ in range(rng.integers(1, 3)):
                at = rng.integers(self.steps // 5, 4 * self.steps // 5 + 1)
                order[at:, row] = rng.permutation(self.categories)
        return order

    def _mean_size(self) -> Array:
        if self.family == "heavy":
            reach = 1 + REWARD_HIGH / self._size
            return self._size / (LOMAX - 1) * (1 - reach ** (1 - LOMAX))
        return self._size * (1 - np.exp(-REWARD_HIGH / self._size))

    def _mine(self, values: Array) -> Array:
        if self._order is None:
            return values
        return np.take_along_axis(values, self._order[self._now], axis=1)

    def _shares(self) -> tuple[Array, Array]:
        """Shares of crashes and of wins now."""
        crash, win = self._mine(self._crash), self._mine(self._win[self._now])
        if self.family == "exhausting":
            win = win * 0.6**self._wins * 0.97**self._tries
        return crash, win * (1 - crash)

    def available(self) -> Array:
        return np.ones((self.count, self.categories), dtype=bool)

    def expected(self) -> Array:
        crash, win = self._shares()
        size, loss = self._mine(self._size_mean), self._mine(self._loss_mean)
        return crash * REWARD_LOW + win * size + (1 - crash - win) * loss

    def best(self) -> Array:
        """The best category now. No order is better, as no expected reward rises when chosen."""
        return np.argmax(self.expected(), axis=1)

    def pull(self, choice: Array) -> Outcome:
        at = (self._rows, choice)
        crash, win = (each[at] for each in self._shares())
        size, loss = self._mine(self._size)[at], self._mine(self._loss)[at]
        luck, drawn = self._luck[self._now][at], self._draws[self._now][at]
        crashed, kept = luck < crash, (luck >= crash) & (luck < crash + win)
        if self.family == "heavy":
            size = size * ((1 - drawn) ** (-1 / LOMAX) - 1)
        else:
            size = -size * np.log1p(-drawn)
        noisy = loss + self._noise[:, 0] * self._normal[self._now][at]
        reward = np.where(crashed, REWARD_LOW, np.where(kept, size, noisy))
        self._tries[at] += 1
        self._wins[at] += kept
        self._now = min(self._now + 1, self.steps - 1)
        return Outcome(np.clip(reward, REWARD_LOW, REWARD_HIGH), crashed, kept)
