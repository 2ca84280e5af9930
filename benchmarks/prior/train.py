"""Meta-learn the weights of the prior's context: a policy gradient through whole campaigns.

The weights of a linear softmax policy have an exact score, and the simulator knows what each
category is worth at each trial. So the gradient of a campaign's sum is taken in two parts: what a
draw brings at once, summed over all categories without drawing, and what it teaches for later, its
score times what came after it less what the repeats of the same campaign got from there on. (An
evolution strategy, which has one number a campaign, was not compared.) theta's own
dependence on the weights is left out, and so is the brake on one win, which campaigns have.

With all categories equal nothing can be won, and a policy that is nearly certain is wrong: there
the gradient is that of ``PRICE`` times the square of what the largest one is above ``CERTAIN``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.learner import EPSILON, FEATURES, Learner, Rule, score, slope
from benchmarks.prior.families import Array, Outcome, World
from benchmarks.prior.play import SIZES, TRAIN, Cell, cells, result, world

RULE = Rule(step=0.5, tune=0.0)
"""Within the simulated campaigns."""
ROUNDS, CAMPAIGNS, REPEATS = 50, 12, 8
"""Of each family in a round, and how often each."""
HORIZONS, SHARES = (50, 100, 300), (0.45, 0.4, 0.15)
"""Of rounds of that length; a long one costs as much as six short ones."""
STEP, BETAS, PULL = 0.5, (0.9, 0.98), 1e-3
"""Of Adam; how strongly weights are drawn to zero."""
CERTAIN, PRICE = 0.7, 50.0
"""What a probability may be where all is equal, and what it costs above."""


@dataclass
class Adam:
    """Upwards, for one vector (arXiv:1412.6980)."""

    size: int

    def __post_init__(self) -> None:
        self.first, self.second, self.steps = np.zeros(self.size), np.zeros(self.size), 0

    def move(self, gradient: Array, step: float) -> Array:
        self.steps += 1
        self.first += (1 - BETAS[0]) * (gradient - self.first)
        self.second += (1 - BETAS[1]) * (gradient**2 - self.second)
        first = self.first / (1 - BETAS[0] ** self.steps)
        second = self.second / (1 - BETAS[1] ** self.steps)
        return step * first / (np.sqrt(second) + 1e-8)


class Several:
    """Worlds of the same length and number of categories side by side."""

    def __init__(self, worlds: Sequence[World]) -> None:
        self.worlds = worlds
        self.steps, self.categories = worlds[0].steps, worlds[0].categories
        self.count = sum(each.count for each in worlds)
        self.ends = np.cumsum([each.count for each in worlds])[:-1]

    def available(self) -> Array:
        return np.concatenate([each.available() for each in self.worlds])

    def expected(self) -> Array:
        return np.concatenate([each.expected() for each in self.worlds])

    def pull(self, choice: Array) -> Outcome:
        parts = [
            each.pull(mine)
            for each, mine in zip(self.worlds, np.split(choice, self.ends), strict=True)
        ]
        return Outcome(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in Outcome.__annotations__)
        )


def gradient(weights: Array, place: Several, lead: Array, equal: Array, seed: int) -> Array:
    """Of the mean sum of expected rewards, in units of ``lead``, less the price of certainty.

    Args:
        lead: of each campaign, how much more than uniform draws the oracle gets.
        equal: in which campaigns no category differs.
    """
    rng, rows = np.random.default_rng([seed, 7]), np.arange(place.count)
    learner = Learner(place.categories, (place.count,), weights, RULE)
    scores, rewards = [], []
    at_once = np.zeros((place.count, len(weights)))
    for t in range(place.steps):
        free = place.available()
        learner.spent = np.full(place.count, t / place.steps)
        seen = learner.features()
        pi, q = learner.policy(free, seen)
        edges = q.cumsum(axis=1)
        choice = (edges < rng.random((place.count, 1)) * edges[:, -1:]).sum(axis=1)
        hit = np.arange(place.categories) == choice[:, None]
        worth = np.where(equal[:, None], 0.0, place.expected() / lead[:, None])
        ascent = (1 - EPSILON) * slope(pi, worth)
        largest = pi == pi.max(axis=1, keepdims=True)
        over = np.maximum(0.0, pi.max(axis=1, keepdims=True) - CERTAIN) * equal[:, None]
        ascent -= PRICE / place.steps * 2 * over * slope(pi, largest)
        at_once += (ascent[:, None, :] @ seen)[:, 0]
        of_draw = score(pi, hit) / q[rows, choice][:, None]
        scores.append((of_draw[:, None, :] @ seen)[:, 0])
        rewards.append(worth[rows, choice])
        outcome = place.pull(choice)
        learner.update(
            choice,
            outcome.reward,
            available=free,
            kept=outcome.kept,
            failed=outcome.crashed,
        )
    later = np.cumsum(np.array(rewards)[::-1], axis=0)[::-1] - rewards
    groups = later.reshape(place.steps, -1, REPEATS)
    others = (groups.sum(axis=2, keepdims=True) - groups) / (REPEATS - 1)
    gained = (groups - others).reshape(later.shape)
    return (at_once + (np.array(scores) * gained[:, :, None]).sum(axis=0)).mean(axis=0)


def leads(families: Sequence[str]) -> dict[Cell, float]:
    """How much more than uniform draws the oracle gets in each cell."""
    return {
        cell: float(
            result("oracle", cell, 60, TRAIN, {}).total.mean()
            - result("uniform", cell, 60, TRAIN, {}).total.mean()
        )
        for cell in cells(tuple(families))
    }


def train(families: Sequence[str], rounds: int = ROUNDS, seed: int = 0) -> Array:
    """Weights that do well over campaigns of these families; the mean of the last quarter."""
    known, rng = leads(families), np.random.default_rng([seed, TRAIN])
    weights, adam, tail = np.zeros(len(FEATURES)), Adam(len(FEATURES)), []
    for i in range(rounds):
        steps = int(rng.choice(HORIZONS, p=SHARES))
        size = 10 if steps == 50 and rng.random() < 0.6 else int(rng.choice(SIZES))
        here = [cell for cell in known if (cell.steps, cell.categories) == (steps, size)]
        salt, count = int(rng.integers(1 << 30)) + 10, CAMPAIGNS * REPEATS
        place = Several([world(cell, count, salt, REPEATS) for cell in here])
        equal = np.repeat([cell.family == "equal" for cell in here], count)
        lead = np.where(equal, 1.0, np.repeat([known[cell] for cell in here], count))
        slope = gradient(weights, place, lead, equal, salt) - PULL * weights
        weights = weights + adam.move(slope, STEP * min(1.0, 2 * (1 - i / rounds)))
        if i >= rounds * 3 // 4:
            tail.append(weights)
        if i % 10 == 9:
            print(f"  {i + 1} rounds", np.round(weights, 2).tolist(), file=sys.stderr, flush=True)
    return np.mean(tail, axis=0)
