"""The arms that the prior is compared with, each over many campaigns at once.

Sources: UCB1 (Auer et al., 2002); discounted and sliding-window UCB (Garivier and Moulines, 2011);
Thompson sampling with normal beliefs, and discounted (Raj and Kalyani, 2017); Exp3.S (Auer et al.,
2002); adaptive pursuit (Thierens, 2005); Q-learning with epsilon-greedy draws; REINFORCE with a
softmax and a baseline, the gradient bandit of Sutton and Barto (2018, 2.8). Each has sixteen
settings of its numbers to be tuned in (``GRIDS``), however many it has. A number may also be an
array with one row a campaign, so that all settings are played at once.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from agent.judge import REWARD_LOW
from benchmarks.prior.families import Array, Outcome


class Arm:
    """One rule in ``count`` campaigns; those that draw from a distribution set ``shares``."""

    def __init__(
        self, count: int, categories: int, rng: np.random.Generator, **numbers: float
    ) -> None:
        self.count, self.categories, self.rng = count, categories, rng
        self.rows, self.now = np.arange(count), 0
        self.shares: Array | None = None
        self.tries, self.sums = np.zeros((count, categories)), np.zeros((count, categories))
        self.start(**numbers)

    def start(self) -> None: ...

    def choose(self, available: Array) -> Array:
        raise NotImplementedError

    def learn(self, choice: Array, outcome: Outcome) -> None:
        self.now += 1

    def count_up(self, choice: Array, reward: Array, fade: float = 1.0) -> None:
        self.tries *= fade
        self.sums *= fade
        self.tries[self.rows, choice] += 1
        self.sums[self.rows, choice] += reward

    def means(self) -> Array:
        """Mean reward of each category; 0 where there is none."""
        return self.sums / np.maximum(self.tries, 1e-9)

    def top(self, values: Array, available: Array) -> Array:
        """The largest of the values that are available; chance decides among equals."""
        ties = 1e-9 * self.rng.random(values.shape)
        return np.argmax(np.where(available, values + ties, -np.inf), axis=1)

    def draw(self, shares: Array, available: Array) -> Array:
        shares = np.where(available, shares, 0.0)
        self.shares = shares / shares.sum(axis=1, keepdims=True)
        edges = np.cumsum(self.shares, axis=1)
        drawn = (edges < self.rng.random((self.count, 1)) * edges[:, -1:]).sum(axis=1)
        return np.minimum(drawn, self.categories - 1)


class Uniform(Arm):
    def choose(self, available: Array) -> Array:
        return self.draw(np.ones(available.shape), available)


class RoundRobin(Arm):
    """The category that was tried least, in an order drawn once."""

    def start(self) -> None:
        self.order = self.rng.random((self.count, self.categories))

    def choose(self, available: Array) -> Array:
        return self.top(-self.tries - self.order, available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        self.count_up(choice, outcome.reward)


class DiscountedUCB(Arm):
    """With ``fade`` 1 it is UCB1."""

    def start(self, width: float, fade: float = 1.0) -> None:
        self.width, self.fade = width, fade

    def choose(self, available: Array) -> Array:
        total = np.log(np.maximum(self.tries.sum(axis=1, keepdims=True), 1.0))
        bonus = self.width * np.sqrt(2 * total / np.maximum(self.tries, 1e-9))
        return self.top(np.where(self.tries < 1e-6, 1e6, self.means() + bonus), available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        self.count_up(choice, outcome.reward, self.fade)


class WindowUCB(DiscountedUCB):
    def start(self, width: float, window: float = 30.0) -> None:
        super().start(width)
        self.windows = np.broadcast_to(np.ravel(window), self.count).astype(int)
        self.seen = list[tuple[Array, Array]]()

    def learn(self, choice: Array, outcome: Outcome) -> None:
        self.count_up(choice, outcome.reward)
        self.seen.append((choice, outcome.reward))
        for window in np.unique(self.windows):
            if len(self.seen) > window:
                old, reward = self.seen[-window - 1]
                rows = np.flatnonzero(self.windows == window)
                self.tries[rows, old[rows]] -= 1
                self.sums[rows, old[rows]] -= reward[rows]


class Thompson(Arm):
    """Normal beliefs about means that are ``doubt`` tries strong; ``fade`` 1: nothing is forgotten.

    What is believed before the first try is the mean of all rewards so far.
    """

    def start(self, spread: float, doubt: float = 1.0, fade: float = 1.0) -> None:
        self.spread, self.doubt, self.fade = spread, doubt, fade

    def choose(self, available: Array) -> Array:
        total = np.maximum(self.tries.sum(axis=1, keepdims=True), 1e-9)
        mean = self.sums.sum(axis=1, keepdims=True) / total
        belief = (self.sums + self.doubt * mean) / (self.tries + self.doubt)
        noise = self.rng.standard_normal(belief.shape)
        return self.top(belief + self.spread * noise / np.sqrt(self.tries + self.doubt), available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        self.count_up(choice, outcome.reward, self.fade)


class Exp3S(Arm):
    """Rewards from the lowest to ``reach`` above it are taken for 0 to 1."""

    def start(self, gamma: float, reach: float, alpha: float = 0.001) -> None:
        self.gamma, self.reach, self.alpha = gamma, reach, alpha
        self.logs = np.zeros((self.count, self.categories))

    def choose(self, available: Array) -> Array:
        weights = np.where(available, np.exp(self.logs), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        floor = available / available.sum(axis=1, keepdims=True)
        return self.draw((1 - self.gamma) * weights + self.gamma * floor, available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        assert self.shares is not None
        paid = np.minimum(1.0, (outcome.reward - REWARD_LOW) / np.ravel(self.reach))
        self.logs[self.rows, choice] += (
            np.ravel(self.gamma) / self.categories * paid / self.shares[self.rows, choice]
        )
        self.logs -= self.logs.max(axis=1, keepdims=True)
        weights = np.exp(self.logs)
        shared = np.e * self.alpha / self.categories * weights.sum(axis=1, keepdims=True)
        self.logs = np.log(weights + shared)


class AdaptivePursuit(Arm):
    def start(self, step: float, pursuit: float) -> None:
        self.step, self.pursuit = step, pursuit
        self.values = np.zeros((self.count, self.categories))
        self.chances = np.full((self.count, self.categories), 1 / self.categories)

    def choose(self, available: Array) -> Array:
        return self.draw(self.chances, available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        at = (self.rows, choice)
        self.values[at] += np.ravel(self.step) * (outcome.reward - self.values[at])
        least = 0.1 / self.categories
        goal = np.full(self.chances.shape, least)
        goal[self.rows, self.top(self.values, goal > 0)] = 1 - (self.categories - 1) * least
        self.chances += self.pursuit * (goal - self.chances)


class QLearning(Arm):
    def start(self, epsilon: float, step: float) -> None:
        self.epsilon, self.step = epsilon, step
        self.values = np.zeros((self.count, self.categories))

    def choose(self, available: Array) -> Array:
        values = np.where(self.rng.random((self.count, 1)) < self.epsilon, 0.0, self.values)
        return self.top(values, available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        at = (self.rows, choice)
        self.values[at] += np.ravel(self.step) * (outcome.reward - self.values[at])


class Reinforce(Arm):
    """Softmax, score function, baseline from earlier rewards; nothing else."""

    def start(self, step: float, memory: float) -> None:
        self.step, self.memory = step, memory
        self.logits = np.zeros((self.count, self.categories))
        self.baseline = np.zeros(self.count)

    def choose(self, available: Array) -> Array:
        top = np.where(available, self.logits, -np.inf).max(axis=1, keepdims=True)
        return self.draw(np.exp(np.minimum(self.logits - top, 0.0)), available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        assert self.shares is not None
        self.now += 1
        advantage = self.step * (outcome.reward - self.baseline)[:, None]
        self.logits -= advantage * self.shares
        self.logits[self.rows, choice] += advantage[:, 0]
        self.baseline += (outcome.reward - self.baseline) / np.minimum(
            self.now, np.ravel(self.memory)
        )


def grid(**values: tuple[float, ...]) -> list[dict[str, float]]:
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


ARMS: dict[str, type[Arm]] = {
    "uniform": Uniform,
    "round-robin": RoundRobin,
    "UCB1": DiscountedUCB,
    "discounted UCB": DiscountedUCB,
    "sliding-window UCB": WindowUCB,
    "Thompson": Thompson,
    "discounted Thompson": Thompson,
    "Exp3.S": Exp3S,
    "adaptive pursuit": AdaptivePursuit,
    "Q-learning": QLearning,
    "REINFORCE": Reinforce,
}
_WIDTHS, _FADES = (0.01, 0.02, 0.03, 0.06), (0.98, 0.99, 0.995, 0.999)
GRIDS: dict[str, list[dict[str, Any]]] = {
    "uniform": [{}],
    "round-robin": [{}],
    "UCB1": grid(width=tuple(float(x) for x in np.geomspace(0.005, 1.0, 16).round(4))),
    "discounted UCB": grid(width=_WIDTHS, fade=_FADES),
    "sliding-window UCB": grid(width=_WIDTHS, window=(40, 80, 160, 240)),
    "Thompson": grid(spread=_WIDTHS, doubt=(0.25, 0.5, 1, 4)),
    "discounted Thompson": grid(spread=_WIDTHS, fade=_FADES),
    "Exp3.S": grid(gamma=(0.05, 0.1, 0.2, 0.4), reach=(0.03, 0.1, 0.3, 1.2)),
    "adaptive pursuit": grid(step=(0.1, 0.2, 0.4, 0.8), pursuit=(0.1, 0.3, 0.6, 1.0)),
    "Q-learning": grid(epsilon=(0.005, 0.01, 0.02, 0.05), step=(0.1, 0.2, 0.3, 0.4)),
    "REINFORCE": grid(step=(2.0, 4.0, 8.0, 16.0), memory=(5, 10, 20, 1000)),
}
