"""Play campaigns: an arm in a cell, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.prior import landscape
from benchmarks.prior.arms import ARMS, Arm
from benchmarks.prior.families import SYNTHETIC, Array, Outcome, Simulated, World
from benchmarks.prior.ours import Landed, Ours
from benchmarks.prior.recorded import HORIZON, Published

TEST, TUNE, TRAIN = 1, 2, 3
"""Salts of the luck: no campaign that is reported was tuned or trained on."""
HORIZONS, SIZES = (50, 100, 300), (6, 8, 10)
FAMILIES = (*SYNTHETIC, "landscape", "published")
KINDS: dict[str, type[Arm]] = {
    **ARMS,
    "landed rule": Landed,
    "landed rule, tuned": Landed,
    "plain": Ours,
    "context": Ours,
}
OURS = ("plain", "context")
COLLAPSED = 0.9


@dataclass(frozen=True)
class Cell:
    family: str
    steps: int
    categories: int

    @property
    def name(self) -> str:
        return f"{self.family}/{self.steps}/{self.categories}"


@dataclass(frozen=True)
class Played:
    """One entry a campaign: the sum of expected rewards, and the largest share of a category."""

    total: Array
    largest: Array | None
    """At any trial; None of an arm that does not draw from shares."""
    last: Array | None
    """At the last one."""
    favoured: Array
    """Share of the last fifth of the trials that went to the category that got most of them."""


def is_recorded(family: str) -> bool:
    return family != "landscape" or landscape.is_recorded()


def cells(families: tuple[str, ...] = FAMILIES) -> list[Cell]:
    """All cells of these families; without those of a landscape that is not recorded yet."""
    found = []
    for family in filter(is_recorded, families):
        if family == "published":
            found.append(Cell(family, HORIZON, 10))
        else:
            longest = landscape.LONGEST if family == "landscape" else max(HORIZONS)
            lengths = [steps for steps in HORIZONS if steps <= longest]
            found += [Cell(family, steps, size) for steps in lengths for size in SIZES]
    return found


def world(cell: Cell, count: int, salt: int, repeats: int = 1) -> World:
    """``repeats``: how often each of the ``count // repeats`` campaigns is there."""
    if cell.family == "published":
        return Published(count, salt, repeats)
    if cell.family == "landscape":
        return landscape.Recorded(cell.steps, cell.categories, count, salt, repeats)
    return Simulated(cell.family, cell.steps, cell.categories, count, salt, repeats)


class Oracle(Arm):
    """Knows what each category is worth now; a ceiling, not an arm."""

    def start(self, world: World) -> None:
        self.world = world

    def choose(self, available: Array) -> Array:
        return self.world.best()


def make(name: str, cell: Cell, count: int, salt: int, numbers: dict[str, Any]) -> Arm:
    if name in OURS:
        numbers = {**numbers, "steps": cell.steps}
    rng = np.random.default_rng([*name.encode(), *cell.name.encode(), salt])
    return KINDS[name](count, cell.categories, rng, **numbers)


def play(arm: Arm, world: World) -> Played:
    total, largest = np.zeros(world.count), np.zeros(world.count)
    rows, lately = np.arange(world.count), np.zeros((world.count, world.categories))
    for trial in range(world.steps):
        choice = arm.choose(world.available())
        total += world.expected()[rows, choice]
        lately[rows, choice] += trial >= world.steps * 4 // 5
        outcome: Outcome = world.pull(choice)
        if arm.shares is not None:
            largest = np.maximum(largest, arm.shares.max(axis=1))
        arm.learn(choice, outcome)
    last = None if arm.shares is None else arm.shares.max(axis=1)
    favoured = lately.max(axis=1) / lately.sum(axis=1)
    return Played(total, None if last is None else largest, last, favoured)


def result(name: str, cell: Cell, count: int, salt: int, numbers: dict[str, Any]) -> Played:
    """An arm, or ``oracle``, in a cell."""
    place = world(cell, count, salt)
    if name == "oracle":
        rng = np.random.default_rng(0)
        return play(Oracle(count, cell.categories, rng, world=place), place)  # type: ignore[arg-type]
    return play(make(name, cell, count, salt, numbers), place)
