"""Meta-learn the weights of the prior's context: a policy gradient through whole campaigns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.prior import FEATURES, Learner, Rule, score
from benchmarks.prior.families import Array
from benchmarks.prior.play import TRAIN, Cell, cells, result, world

ROUNDS, CAMPAIGNS, REPEATS, CELLS = 150, 48, 8, 6
STEP, BETAS, PULL = 0.08, (0.9, 0.99), 1e-3
"""Of Adam, and how strongly weights are drawn to zero."""


@dataclass
class Adam:
    """Adam, upwards, for one vector (arXiv:1412.6980)."""

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


def gradient(
    weights: Array, rule: Rule, cell: Cell, scale: float, salt: int
) -> tuple[Array, float]:
    """Of the sum of expected rewards over a campaign, in the oracle's lead; and that sum.

    The score of each draw times the reward that came after it, less what the repeats of the same
    campaign got from there on: a baseline that does not depend on the draw of this one.
    """
    count = CAMPAIGNS * REPEATS
    place, rng = world(cell, count, salt, REPEATS), np.random.default_rng([salt, 7])
    learner = Learner(cell.categories, (count,), weights, rule)
    scores, rewards, rows = [], [], np.arange(count)
    for t in range(place.steps):
        free = place.available()
        learner.spent = np.full(count, t / place.steps)
        seen = learner.features()
        pi, q = learner.policy(free, seen)
        edges = q.cumsum(axis=1)
        choice = (edges < rng.random((count, 1)) * edges[:, -1:]).sum(axis=1)
        hit = np.arange(cell.categories) == choice[:, None]
        slope = score(pi, hit) / q[rows, choice][:, None]
        scores.append((slope[:, None, :] @ seen)[:, 0])
        rewards.append(place.expected()[rows, choice] / scale)
        outcome = place.pull(choice)
        learner.update(
            choice, outcome.reward, available=free, kept=outcome.kept, failed=outcome.crashed
        )
    to_come = np.cumsum(np.array(rewards)[::-1], axis=0)[::-1]
    groups = to_come.reshape(place.steps, CAMPAIGNS, REPEATS)
    others = (groups.sum(axis=2, keepdims=True) - groups) / (REPEATS - 1)
    lead = (groups - others).reshape(place.steps, count)
    slope = (np.array(scores) * lead[:, :, None]).sum(axis=0).mean(axis=0)
    return slope, float(to_come[0].mean())


def leads(families: Sequence[str]) -> dict[Cell, tuple[float, float]]:
    """What uniform draws get in each cell, and how much more the oracle does."""
    found = {}
    for cell in cells(tuple(family for family in families if family != "equal")):
        low, high = (
            float(result(name, cell, 200, TRAIN, {}).total.mean()) for name in ("uniform", "oracle")
        )
        found[cell] = (low, high - low)
    return found


def train(
    families: Sequence[str], rule: Rule, rounds: int = ROUNDS, seed: int = 0, start: Array | None = None
) -> Array:
    """Weights that do well over campaigns of these families."""
    known, rng = leads(families), np.random.default_rng([seed, TRAIN])
    by_family: dict[str, list[Cell]] = {}
    for cell in known:
        by_family.setdefault(cell.family, []).append(cell)
    weights, adam = np.zeros(len(FEATURES)) if start is None else start.copy(), Adam(len(FEATURES))
    tail = []
    for i in range(rounds):
        slopes, got = [], []
        for family, members in by_family.items():
            cell = members[rng.integers(len(members))]
            low, lead = known[cell]
            slope, total = gradient(weights, rule, cell, lead, int(rng.integers(1 << 30)) + 10)
            slopes.append(slope)
            got.append(total - low / lead)
        total_slope = np.mean(slopes, axis=0) - PULL * weights
        weights = weights + adam.move(total_slope, STEP * min(1.0, 2 * (1 - i / rounds)))
        if i >= rounds * 3 // 4:
            tail.append(weights)
        if i % 10 == 0:
            print(i, f"{np.mean(got):.3f}", np.round(weights, 2), file=sys.stderr, flush=True)
    return np.mean(tail, axis=0)
