"""Heats of any company, drawn from the recorded landscape.

What an edit does is the mean of its heats there: of the difference of the scores, shrunk by its
error, and of the training losses before it. What luck adds is what the heats differ by from those
means. A heat is drawn by drawing a recorded one, and taking for each candidate what another edit of
its kind met in it: so the candidates share a champion's luck as they did there.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from agent.campaign.records import Kind
from agent.forecast import PARTS, Course, doubt_about
from agent.judge import Judge, Noise, shrunk
from agent.noise import learn_effect, learn_noise, spread
from benchmarks.heats import reduced
from benchmarks.landscape.record import SECONDS
from benchmarks.landscape.table import OK, Heat
from trainer.presets import find_preset

KINDS: tuple[Kind, ...] = ("numbers", "structure")
PRESET = find_preset("cpu")
ALIKE = 4
"""So many candidates of a heat have the same luck each, however many it has."""
Losses = tuple[float | None, ...]


@dataclass(frozen=True)
class Luck:
    """What one training of a recorded heat differed by from what its edit is worth."""

    difference: float
    """Champion's minus candidate's score, bits per byte."""
    course: Losses
    """The same of the training losses, by twentieths of the budget; None where one is missing."""
    score: float
    """Of the candidate's score itself, for a rule that compares scores of different heats."""


@dataclass(frozen=True)
class Known:
    """An edit: its kind, and what it is worth in every heat."""

    name: str
    category: str
    kind: Kind
    gain: float
    course: Losses


@dataclass(frozen=True)
class Company:
    """A recorded heat: the champion's luck, and that of its candidates by kind."""

    champion: float
    of: dict[Kind, tuple[Luck, ...]]


@dataclass(frozen=True)
class _Row:
    """One training of a heat, beside its champion."""

    heat: int
    name: str
    category: str
    kind: Kind
    is_null: bool
    champion: Losses
    candidate: Losses
    difference: float
    score: float

    @property
    def course(self) -> Losses:
        pairs = zip(self.champion, self.candidate, strict=True)
        return tuple(None if a is None or b is None else a - b for a, b in pairs)


class Ground:
    """What was recorded of one start."""

    def __init__(self, heats: Iterable[Heat], start: str) -> None:
        mine = [heat for heat in heats if heat["start"] == start]
        self.start = start
        self._rows = [row for number, heat in enumerate(mine) for row in _rows(number, heat)]
        self._bases = [float(heat["base"]["val_bpb"]) for heat in mine]
        grouped: dict[str, list[_Row]] = {}
        for row in self._rows:
            grouped.setdefault(row.name, []).append(row)
        self._by_edit = grouped
        self.noise = {kind: self._noise(kind) for kind in KINDS}

    def _noise(self, kind: Kind) -> Noise:
        spreads = [
            spread([row.difference for row in rows], mean=0.0 if rows[0].is_null else None)
            for rows in self._by_edit.values()
            if rows[0].kind == kind
        ]
        usual = PRESET.noise_numbers if kind == "numbers" else PRESET.noise_structure
        return learn_noise(spreads, Noise(usual, PRESET.noise_dof))

    @cached_property
    def sigma(self) -> tuple[float, float]:
        """Standard deviation of the champion's score over heats, and its degrees of freedom."""
        return float(np.std(self._bases, ddof=1)), float(len(self._bases) - 1)

    @cached_property
    def edits(self) -> tuple[Known, ...]:
        """All edits that were scored, without the nulls."""
        found = []
        for kind in KINDS:
            judge = Judge("confirm", self.noise[kind])
            mine = [
                rows
                for rows in self._by_edit.values()
                if rows[0].kind == kind and not rows[0].is_null
            ]
            told = [judge.moderated([row.difference for row in rows])[:2] for rows in mine]
            effect = learn_effect(told, PRESET.effect)
            for rows, (mean, error) in zip(mine, told, strict=True):
                gain, course = shrunk(mean, error, effect), _mean(row.course for row in rows)
                course = tuple(None if x is None else x + gain - mean for x in course)
                found.append(Known(rows[0].name, rows[0].category, kind, gain, course))
        return tuple(found)

    def null(self, kind: Kind) -> Known:
        """An edit that does nothing."""
        return Known("null", "", kind, 0.0, (0.0,) * PARTS)

    @cached_property
    def courses(self) -> list[Course]:
        """What a campaign that has tried all these edits knows of forecasts."""
        return [
            Course(r.category, r.champion, r.candidate, r.difference, self.noise[r.kind].scale)
            for r in self._rows
        ]

    def doubt(self, category: str) -> float | None:
        """See ``forecast.doubt_about``."""
        if category not in self._doubts:
            self._doubts[category] = doubt_about(category, False, self.courses)
        return self._doubts[category]

    @cached_property
    def _doubts(self) -> dict[str, float | None]:
        return {}

    @cached_property
    def companies(self) -> list[Company]:
        """The recorded heats, as luck."""
        rows = [row for row in self._rows if row.is_null or len(self._by_edit[row.name]) > 1]
        lucks = [self._luck(row) for row in rows]
        off = {
            kind: fmean(
                luck.difference for r, luck in zip(rows, lucks, strict=True) if r.kind == kind
            )
            for kind in KINDS
        }
        mean = fmean(self._bases)
        found = []
        for number, base in enumerate(self._bases):
            of: dict[Kind, tuple[Luck, ...]] = {}
            for kind in KINDS:
                of[kind] = tuple(
                    Luck(luck.difference - off[kind], luck.course, luck.score)
                    for row, luck in zip(rows, lucks, strict=True)
                    if row.heat == number and row.kind == kind
                )
            found.append(Company(base - mean, of))
        return found

    def _luck(self, row: _Row) -> Luck:
        """Less the edit's mean, and as far from it as if that had not taken part of it."""
        mine = self._by_edit[row.name]
        count = len(mine)
        widen = math.sqrt(count / (count - 1)) if count > 1 else 1.0
        score = widen * (row.score - fmean(one.score for one in mine))
        if row.is_null:
            return Luck(row.difference, row.course, score)
        mean, usual = fmean(one.difference for one in mine), _mean(one.course for one in mine)
        course = tuple(
            None if a is None or b is None else widen * (a - b)
            for a, b in zip(row.course, usual, strict=True)
        )
        return Luck(widen * (row.difference - mean), course, score)

    def draw(self, kinds: Sequence[Kind], dice: random.Random) -> list[Luck]:
        """The luck of candidates of these kinds in one heat.

        Any heat is drawn as often as any other, and where it has too few of a kind, what lacks is
        taken from the next that is drawn. Places are filled up to ``ALIKE`` first, so that a
        candidate's own luck is the same whether few or many run beside it.
        """
        places = list(enumerate([*kinds, *dice.choices(KINDS, k=max(0, ALIKE - len(kinds)))]))
        dice.shuffle(places)
        found: dict[int, Luck] = {}
        while len(found) < len(places):
            company = dice.choice(self.companies)
            free = {kind: dice.sample(of, len(of)) for kind, of in company.of.items()}
            for number, kind in places:
                if number not in found and free[kind]:
                    found[number] = free[kind].pop()
        return [found[number] for number in range(len(kinds))]

    def alike(self, draws: int) -> dict[str, Any]:
        """How alike the luck of two candidates of a heat is: the correlation over all pairs, as
        recorded, and in heats that are drawn."""
        told: dict[str, Any] = {}
        dice = random.Random(f"alike {self.start}")
        for kind in KINDS:
            drawn = [self.draw([kind, kind], dice) for _ in range(draws)]
            there = [pair for c in self.companies for pair in itertools.combinations(c.of[kind], 2)]
            told[kind] = {"recorded": _correlation(there), "pairs": len(there)}
            told[kind]["drawn"] = _correlation(drawn)
        return told


def _correlation(pairs: Iterable[Sequence[Luck]]) -> float:
    one_way = [(a.difference, b.difference) for a, b in pairs]
    both = np.array(one_way + [(b, a) for a, b in one_way])
    return round(float(np.corrcoef(both.T)[0, 1]), 3)


def _rows(number: int, heat: Heat) -> list[_Row]:
    base = heat["base"]
    told = [loss for _, _, loss in base["curve"]]
    unit = base["val_bpb"] / told[-1]  # bits per byte that a nat per token is
    champion = _losses(base["curve"], unit)
    return [
        _Row(
            number,
            one["edit"]["name"],
            one["edit"]["category"],
            "structure" if "another seed" in one["edit"]["name"] else one["edit"]["kind"],
            one["edit"]["origin"] == "null",
            champion,
            _losses(one["curve"], unit),
            base["val_bpb"] - one["val_bpb"],
            one["val_bpb"],
        )
        for one in heat["trainings"]
        if one["status"] == OK
    ]


def _losses(curve: Sequence[tuple[float, int, float]], unit: float) -> Losses:
    return tuple(loss and unit * loss for loss in reduced(curve, SECONDS))


def _mean(courses: Iterable[Losses]) -> Losses:
    columns = zip(*courses, strict=True)
    kept = [[x for x in column if x is not None] for column in columns]
    return tuple(fmean(column) if column else None for column in kept)
