"""Campaigns over the recorded landscape of edits, if there is one (benchmarks/landscape)."""

from __future__ import annotations

from functools import cache
from statistics import fmean

import numpy as np

from agent.judge import REWARD_HIGH, REWARD_LOW
from benchmarks.prior.families import Array, Outcome
from benchmarks.prior.published import CATEGORIES

UNIT = 0.04
"""Bits per byte that are a reward of 1: the preset ``cpu``'s, on which the edits were measured."""
LONGEST = 100
"""Trials of a campaign: of each start some 120 edits are recorded, and when they are used up no
choice is better than another."""
HEATS, KEPT = 2, 0.2
"""Heats whose mean is the gain of a trial; the reward from which it counts as kept."""
Edit = tuple[float | None, ...]
"""The gain in each recorded heat, bits per byte; None: it failed."""


@cache
def edits() -> dict[str, dict[str, tuple[Edit, ...]]]:
    """Recorded edits by start and category; none if nothing is recorded."""
    try:
        from benchmarks.landscape import Landscape
    except ImportError:
        return {}
    found: dict[str, dict[str, tuple[Edit, ...]]] = {}
    for one in Landscape.load().edits:
        if one.category in CATEGORIES:
            mine = found.setdefault(one.start, {})
            gains = tuple(heat.difference for heat in one.heats)
            mine[one.category] = (*mine.get(one.category, ()), gains)
    return found


def is_recorded() -> bool:
    return bool(edits())


def reward_of(gains: Edit) -> float:
    """Of a trial with these heats; one that fails ends it."""
    if None in gains:
        return REWARD_LOW
    return min(REWARD_HIGH, max(REWARD_LOW, fmean(g for g in gains if g is not None) / UNIT))


class Recorded:
    """The categories of one start; a trial is the next edit of its category, in an order by chance.

    What was kept is not proposed again, the rest is when all were tried. Gains are those over the
    file that the edit was measured on, however many others were kept before it.
    """

    def __init__(
        self, steps: int, categories: int, count: int, salt: int, repeats: int = 1
    ) -> None:
        self.steps, self.categories, self.count, self.now = steps, categories, count, 0
        starts = sorted(edits())
        self._all: list[list[tuple[Edit, ...]]] = []
        self._seeds = []
        for row in range(count):
            rng = np.random.default_rng([77, steps, categories, salt, row // repeats])
            mine = edits()[starts[row // repeats % len(starts)]]
            names = [mine.get(CATEGORIES[i], ()) for i in rng.permutation(len(CATEGORIES))]
            self._all.append(sorted(names, key=lambda found: not found)[:categories])
            self._seeds.append(int(rng.integers(1 << 30)))
        self._kept: list[list[set[int]]] = [
            [set() for _ in range(categories)] for _ in range(count)
        ]
        self._next: list[list[list[int]]] = [[[] for _ in range(categories)] for _ in range(count)]
        self._worth = np.zeros((count, categories))
        for row in range(count):
            for k in range(categories):
                self._refill(row, k)

    def _refill(self, row: int, k: int) -> None:
        """Line up the edits of a category again if none is left, and say what they are worth."""
        edits_of, left = self._all[row][k], self._next[row][k]
        if not left:
            rng = np.random.default_rng([self._seeds[row], k, self.now])
            order = rng.permutation(len(edits_of)).tolist()
            left.extend(i for i in order if i not in self._kept[row][k])
        self._worth[row, k] = fmean(_worth(edits_of[i]) for i in left) if left else -np.inf

    def available(self) -> Array:
        return np.isfinite(self._worth)

    def expected(self) -> Array:
        return np.where(self.available(), self._worth, 0.0)

    def best(self) -> Array:
        return np.argmax(self._worth, axis=1)

    def pull(self, choice: Array) -> Outcome:
        reward, crashed, kept = (np.zeros(self.count) for _ in range(3))
        for row, k in enumerate(choice.tolist()):
            number = self._next[row][k].pop(0)
            edit = self._all[row][k][number]
            rng = np.random.default_rng([self._seeds[row], k, number, self.now])
            heats = tuple(edit[i] for i in rng.integers(len(edit), size=HEATS))
            reward[row], crashed[row] = reward_of(heats), None in heats
            kept[row] = reward[row] > KEPT
            if kept[row]:
                self._kept[row][k].add(number)
            self._refill(row, k)
        self.now += 1
        return Outcome(reward, crashed.astype(bool), kept.astype(bool))


@cache
def _worth(edit: Edit) -> float:
    """Expected reward: over all draws of heats."""
    pairs = [(a, b) for a in edit for b in edit]
    return fmean(reward_of(pair) for pair in pairs)
