"""What each mechanism of memory brings: simulated campaigns over the recorded landscape of edits.

A file is a set of recorded edits. It is worth the sum of their gains, shrunk by their noise, and
for each two of them what they bring beside each other: as much as the recorded pairs scatter
beyond their noise, drawn by seed. The judge is the product's own; what it says of an edit with a
certain true gain is drawn from ``DRAWS`` trials that it has judged. The rules of the mechanisms
are those of ``agent.proposers.memory``, and of those that went again since they brought nothing.

While untried edits are left, memory is asked for one trial in three in which it has an idea.
"""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from agent.judge import Judge, Noise, shrunk
from agent.noise import learn_effect
from agent.proposers.memory.combine import LEAST as EACH
from agent.proposers.memory.combine import TOGETHER
from agent.proposers.memory.comebacks import LEAST
from benchmarks.landscape import Landscape

EFFECT, TIES, DOF, LEVEL = 0.01, 0.02, 4.0, 0.02
"""Of the preset ``cpu``; and the share of false keeps that a trial may have, in mid-campaign."""
HEATS = 100, 300
"""After so many the worth of the champion is looked at: before and after all edits are tried."""
SHARE = 1 / 3
WORST, STEP, REACH, DRAWS = -0.3, 0.003, 20, 100
"""No gain is less than the first, bits per byte: how bad the worst is decides nothing. The judge's
answers are known for gains a step apart, so many each way, so many of each."""
STUCK, RETRIES, OLD = 12, 2, 2
"""Trials without a keep before a restart; tries of a retuning; keeps since what is dropped."""
ROWS: Mapping[str, Collection[str]] = {
    "none": (),
    "both": ("comeback", "combine"),
    "without comeback": ("combine",),
    "without combine": ("comeback",),
    "both and retune": ("comeback", "combine", "retune"),
    "both and drop": ("comeback", "combine", "drop"),
    "both and restart": ("comeback", "combine", "restart"),
    "all five": ("comeback", "combine", "retune", "drop", "restart"),
}
"""By name: the mechanisms that are there."""

File = frozenset[str]


@dataclass(frozen=True)
class Edit:
    """A recorded edit: a recipe, or a constant on another value."""

    name: str
    what: str
    """The recipe, or the constant, which a file has on one value only."""
    gain: float
    """Bits per byte."""
    is_recipe: bool


@dataclass(frozen=True)
class Answer:
    """What the judge said of a trial."""

    kept: bool
    heats: int
    strength: float
    """Mean difference in standard errors."""
    first: float
    """Difference of the first heat."""


@dataclass(frozen=True)
class World:
    """The edits of one start, and how far their heats scatter."""

    edits: tuple[Edit, ...]
    noise: float
    interaction: float
    """Standard deviation of what two edits bring beside each other."""

    @functools.cached_property
    def answers(self) -> dict[bool, list[list[Answer]]]:
        """By whether the edit makes the program shorter, and by its gain."""
        return {
            shorter: [
                [self._judged(STEP * place, -1 if shorter else 1, n) for n in range(DRAWS)]
                for place in range(-REACH, REACH + 1)
            ]
            for shorter in (False, True)
        }

    def _judged(self, gain: float, size_delta: int, number: int) -> Answer:
        dice = random.Random(f"{gain:.4f} {size_delta} {number}")
        judge, found = Judge("confirm", Noise(self.noise, DOF), TIES), list[float]()
        while True:
            found.append(dice.gauss(gain, self.noise))
            verdict = judge.verdict(found, size_delta=size_delta, level=LEVEL)
            if verdict != "heat":
                mean, error, _ = judge.moderated(found)
                return Answer(verdict == "keep", len(found), mean / error, found[0])

    def answer(self, gain: float, shorter: bool, dice: random.Random) -> Answer:
        place = max(-REACH, min(REACH, round(gain / STEP)))
        return dice.choice(self.answers[shorter][place + REACH])


@functools.cache
def world(start: str) -> World:
    """Of the recorded landscape."""
    edits = [e for e in Landscape.load().select(start) if e.mean is not None]
    told = {e.name: fmean(e.differences) for e in edits}
    off = [
        (d - told[e.name]) * math.sqrt(len(e.differences) / (len(e.differences) - 1))
        for e in edits
        if len(e.differences) > 1
        for d in e.differences
    ]
    noise = stdev(off)
    error = {e.name: noise / math.sqrt(len(e.differences)) for e in edits}
    singles = [e for e in edits if e.origin in ("deck", "constant")]
    effect = learn_effect([(told[e.name], error[e.name]) for e in singles], EFFECT)
    gains = {e.name: max(WORST, shrunk(told[e.name], error[e.name], effect)) for e in singles}
    what = {e.name: e.name.split("/", 2)[2].partition(" ")[0] for e in singles}
    pairs = [e for e in edits if e.origin == "pair" and all(part in told for part in e.parts)]
    beside = [told[e.name] - sum(told[part] for part in e.parts) for e in pairs]
    doubt = [math.hypot(*(error[name] for name in (e.name, *e.parts))) for e in pairs]
    spread = fmean(b**2 - d**2 for b, d in zip(beside, doubt, strict=True)) if pairs else 0.0
    return World(
        tuple(Edit(e.name, what[e.name], gains[e.name], e.origin == "deck") for e in singles),
        noise,
        math.sqrt(max(0.0, spread)),
    )


@dataclass
class Tried:
    """A trial that was reverted without being known to lose, or kept."""

    edits: tuple[str, ...]
    champion: int
    """How many champions there had been."""
    answer: Answer
    how: str
    is_over: bool = False
    combined: bool = False
    retries: int = 0


@dataclass
class Campaign:
    """One simulated campaign, and what came of it."""

    world: World
    seed: int
    mechanisms: Collection[str]
    worth: dict[int, float] = field(default_factory=dict)
    """By number of heats: of the champion, bits per byte over the start."""
    tried: Counter[str] = field(default_factory=Counter)
    """Trials by mechanism; those of deck and tuner are ``untried``."""
    kept: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._edits = {edit.name: edit for edit in self.world.edits}
        self._left = [edit.name for edit in self.world.edits]
        self._dice.shuffle(self._left)
        self._champions: list[File] = [frozenset()]
        self._near: list[Tried] = []
        self._keeps: list[Tried] = []
        self._dropped: set[tuple[str, ...]] = set()
        self._dry = 0
        self._beside = functools.cache(self._interaction)
        self._value = functools.cache(self._of)

    def play(self) -> Campaign:
        """Go on for ``HEATS``, or until nothing is left to propose."""
        spent = 0
        ideas: Mapping[str, Callable[[], Iterator[tuple[list[Tried], File]]]] = {
            "combine": self._combine,
            "comeback": self._comeback,
            "drop": self._drop,
            "retune": self._retune,
            "restart": self._restart,
        }
        while spent < HEATS[-1]:
            found = (
                (how, *idea)
                for how, find in ideas.items()
                if how in self.mechanisms
                for idea in find()
            )
            idea = next(found, None)
            if idea and (not self._left or self._dice.random() < SHARE):
                how, sources, file = idea
            elif self._left:
                name = self._left.pop()
                how, sources, file = "untried", [], self._with(self._file, [name])
            else:
                break
            spent += self._try(how, sources, file, spent)
        for mark in HEATS:
            self.worth.setdefault(mark, self._value(self._file))
        return self

    def _try(self, how: str, sources: list[Tried], file: File, spent: int) -> int:
        """Judge a file; returns the heats that it took."""
        self._mark(how, sources)
        if file == self._file:
            return 0
        gain = self._value(file) - self._value(self._file)
        answer = self.world.answer(gain, how == "drop", self._dice)
        self.tried[how] += 1
        for mark in HEATS:
            if spent < mark <= spent + answer.heats:
                self.worth[mark] = self._value(self._file)
        now = Tried(tuple(sorted(file - self._file)), len(self._champions), answer, how)
        self._dry += 1
        if answer.kept:
            self._dry = 0
            self.kept[how] += 1
            self._champions.append(file)
            self._keeps.append(now)
            for one in sources:
                one.is_over = True
        elif answer.strength > -2 and how not in ("drop", "restart"):
            self._near.append(now)
        return answer.heats

    def _mark(self, how: str, sources: list[Tried]) -> None:
        for one in sources:
            one.is_over |= how in ("comeback", "restart")
            one.combined |= how == "combine"
            one.retries += how == "retune"
            if how == "drop":
                self._dropped.add(one.edits)

    @property
    def _file(self) -> File:
        return self._champions[-1]

    def _with(self, file: File, names: Sequence[str]) -> File:
        """A file with these edits, each in place of others of the same recipe or constant."""
        own = {self._edits[name].what for name in names}
        return frozenset([*names, *(n for n in file if self._edits[n].what not in own)])

    # --- what a file is worth ---

    def _of(self, file: File) -> float:
        there = sorted(file)
        total = sum(self._edits[name].gain for name in there)
        if self.world.interaction:
            total += sum(self._beside(a, b) for i, a in enumerate(there) for b in there[:i])
        return total

    def _interaction(self, one: str, two: str) -> float:
        return self.world.interaction * random.Random(f"{self.seed} {one} {two}").gauss(0, 1)

    # --- the mechanisms: what each would try, the best first ---

    def _strongest(self, of_now: bool, least: float) -> list[Tried]:
        """Near misses of the champion, or of earlier ones."""
        now = len(self._champions)
        found = [
            one
            for one in self._near
            if (one.champion == now) == of_now
            and one.answer.strength >= least
            and not one.is_over
            and not self._file.issuperset(one.edits)
        ]
        return sorted(found, key=lambda one: -one.answer.strength)

    def _comeback(self) -> Iterator[tuple[list[Tried], File]]:
        for one in self._strongest(False, LEAST):
            yield [one], self._with(self._file, one.edits)

    def _combine(self) -> Iterator[tuple[list[Tried], File]]:
        near = [
            one
            for one in self._strongest(True, EACH)
            if not one.combined and one.how in ("untried", "comeback")
        ]
        if len(near) > 1 and sum(o.answer.strength for o in near[:2]) >= TOGETHER * math.sqrt(2):
            yield near[:2], self._with(self._file, [*near[0].edits, *near[1].edits])

    def _retune(self) -> Iterator[tuple[list[Tried], File]]:
        """A recipe that was ahead at first, with a constant on another of its recorded values."""
        others = [edit.name for edit in self.world.edits if not edit.is_recipe]
        for one in self._strongest(True, -2.0):
            is_ahead = one.answer.strength > 0 or one.answer.first > 0
            is_recipe = one.how == "untried" and self._edits[one.edits[0]].is_recipe
            if is_ahead and is_recipe and one.retries < RETRIES:
                yield [one], self._with(self._file, [*one.edits, self._dice.choice(others)])

    def _drop(self) -> Iterator[tuple[list[Tried], File]]:
        """Recipes that were kept, and are believed to gain less than the noise of a heat."""
        for one in self._keeps:
            is_there = one.edits and self._file.issuperset(one.edits)
            is_old = len(self._champions) - one.champion > OLD
            error = self.world.noise / math.sqrt(one.answer.heats)
            is_small = shrunk(one.answer.strength * error, error, EFFECT) < self.world.noise
            recipes = all(self._edits[name].is_recipe for name in one.edits)
            if is_there and is_old and is_small and recipes and one.edits not in self._dropped:
                yield [one], self._file - set(one.edits)

    def _restart(self) -> Iterator[tuple[list[Tried], File]]:
        """The strongest near miss on an earlier champion."""
        if self._dry >= STUCK and len(self._champions) > 1:
            for one in self._strongest(False, 0.0):
                earlier = self._dice.choice(self._champions[:-1])
                yield [one], self._with(earlier, one.edits)


def table(seeds: int) -> dict[str, Any]:
    """Campaigns of each start with each of ``ROWS``, over so many seeds.

    Gains are means in bits per byte over the start; ``difference`` is paired by seed with the row
    ``none``, with the half-width of its 95 % interval; ``tried`` and ``kept`` are a campaign's.
    """
    found: dict[str, Any] = {"heats": list(HEATS), "seeds": seeds}
    for start in ("plain", "shipped"):
        there = world(start)
        if not there.edits:
            continue
        played = {
            name: [Campaign(there, seed, mechanisms).play() for seed in range(seeds)]
            for name, mechanisms in ROWS.items()
        }
        rows = {name: _row(games, played["none"]) for name, games in played.items()}
        found[start] = {"noise": there.noise, "interaction": there.interaction, "rows": rows}
    return found


def _row(games: Sequence[Campaign], without: Sequence[Campaign]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for mark in HEATS:
        gains = [game.worth[mark] for game in games]
        paired = [g - other.worth[mark] for g, other in zip(gains, without, strict=True)]
        n = len(games)
        half = float(stdtrit(n - 1, 0.975)) * stdev(paired) / math.sqrt(n) if n > 1 else 0.0
        row[f"after {mark} heats"] = {"gain": fmean(gains), "difference": [fmean(paired), half]}
    for name in ("tried", "kept"):
        count = sum((getattr(game, name) for game in games), Counter[str]())
        row[name] = {how: number / len(games) for how, number in sorted(count.items())}
    return row
