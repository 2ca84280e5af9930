"""Which edits the landscape has: of each start the deck, constants of their ranges, pairs, nulls.

All is drawn by seeds of names, so the plan is the same each time; a new recipe adds to it and
changes nothing else but the pairs.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from agent.campaign.commits import baseline_source
from agent.edits.blocks import EditError
from agent.edits.checks import Rejected, check
from agent.edits.constants import constants
from agent.edits.facts import edit_facts
from agent.proposers.axes import MIN_STEP, Axis, tunable
from agent.proposers.deck import recipes
from benchmarks.heats_plan import constant, nudged
from benchmarks.machine import ROOT
from trainer import contract
from trainer.presets import find_preset

STARTS = {"shipped": "trainer/train.py", "plain": "examples/plain.py"}
PRESET = "cpu"
RADII = {"shipped": (0.15,), "plain": (0.15, 0.3, 1.0)}
"""How far from its value a constant is drawn, in shares of its range, a draw each. The tuner begins
with the first; the shipped file has twice as many constants and all of the deck."""
PAIRS, NULLS = 16, 10
"""Of each start."""
TRIES = 1000
"""Most draws of one pair."""

Change = Callable[[str], str]


@dataclass(frozen=True)
class Planned:
    """One edit to measure; the first fields are those of ``table.RecordedEdit``."""

    name: str
    start: str
    origin: str
    category: str
    title: str
    source: str = field(repr=False)
    parts: tuple[str, ...] = ()
    other_seed: bool = False
    """Whether it is trained with another seed than the base: one kind of null."""

    @property
    def code(self) -> str:
        """A digest of what a reading of it belongs to: both files."""
        text = f"{base(self.start)}\0{self.source}\0{self.other_seed}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def sets_numbers(self) -> bool:
        return edit_facts(base(self.start), self.source).sets_numbers


@dataclass(frozen=True)
class Single:
    """An edit by itself, and how to make it on another file."""

    planned: Planned
    change: Change
    what: str
    """A recipe or a constant: no pair changes one thing twice."""


@cache
def base(start: str) -> str:
    """A start with the constants of the preset, as trial 0 of a campaign has it."""
    text = (ROOT / STARTS[start]).read_text()
    return baseline_source("", {"start_source": text, "preset": PRESET})


@cache
def edits() -> tuple[Planned, ...]:
    """The whole plan."""
    found: list[Planned] = []
    for start in STARTS:
        singles = [*deck(start), *constants_of(start)]
        found += [single.planned for single in singles]
        found += pairs(start, singles)
        found += nulls(start)
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    return tuple(found)


def deck(start: str) -> list[Single]:
    """The recipes that apply to the start and pass the checks that cost nothing."""
    found = []
    for recipe in recipes():
        try:
            source = recipe.edit.apply(base(start))
            check(base(start), source, max_seq_len=_longest())
        except (EditError, Rejected):
            continue
        name, category = f"{start}/deck/{recipe.name}", recipe.edit.category
        planned = Planned(name, start, "deck", category, recipe.edit.title, source)
        found.append(Single(planned, recipe.edit.apply, recipe.name))
    return found


def constants_of(start: str) -> list[Single]:
    """Each constant that has a range, on values like those that the tuner draws."""
    sections = dict.fromkeys(one.section for one in constants(base(start)))
    return [
        single
        for section in sections
        for axis in tunable(base(start), section)
        for single in _values(start, section, axis)
    ]


def _values(start: str, section: str, axis: Axis) -> list[Single]:
    values: dict[Any, None] = {}
    for radius in RADII[start]:
        dice = random.Random(f"landscape: {start} {axis.name} {radius}")
        draws = (_step(axis, dice, radius) for _ in range(20))
        values |= dict.fromkeys([v for v in draws if v not in (axis.champion, *values)][:1])
    found = []
    for value in values:
        title = f"{axis.name} {axis.champion} → {value}"
        name, change = f"{start}/constant/{axis.name} {value}", constant(**{axis.name: value})
        source = change(base(start))
        if _keeps_contract(source):
            planned = Planned(name, start, "constant", section, title, source)
            found.append(Single(planned, change, axis.name))
    return found


def _step(axis: Axis, dice: random.Random, radius: float) -> Any:
    """A value one step up or down, by at least half the radius if the range allows it."""
    if not axis.is_ordered:
        return dice.choice(axis.others)
    here, (low, high) = axis.place(axis.champion), axis.interval(radius)
    ends = [end for end in (low, high) if abs(end - here) >= MIN_STEP] or [low, high]
    return axis.value(here + dice.uniform(0.5, 1.0) * (dice.choice(ends) - here))


def pairs(start: str, singles: Sequence[Single]) -> list[Planned]:
    """Two edits at once, every other pair within one category, as the tuner makes them."""
    dice = random.Random(f"landscape: pairs of {start}")
    found: dict[str, Planned] = {}
    for _ in range(TRIES):
        if len(found) == PAIRS:
            break
        first = dice.choice(singles)
        own = first.planned.category
        others = [one for one in singles if one.what != first.what]
        if len(found) % 2 == 0:
            others = [one for one in others if one.planned.category == own]
        if not others:
            continue
        second = dice.choice(others)
        one, two = sorted((first, second), key=lambda each: each.planned.name)
        words = [each.planned.name.split("/", 2)[2] for each in (one, two)]
        name = f"{start}/pair/{' + '.join(words)}"
        try:
            source = two.change(one.planned.source)
        except EditError:
            continue
        if not _keeps_contract(source):
            continue
        found[name] = Planned(
            name,
            start,
            "pair",
            own if two.planned.category == one.planned.category else "",
            f"{one.planned.title}; {two.planned.title}",
            source,
            (one.planned.name, two.planned.name),
        )
    return list(found.values())


def nulls(start: str) -> list[Planned]:
    """What changes nothing, of the two kinds that a campaign has: see ``agent.steps.nulls``."""
    source = base(start)
    same = Planned("", start, "null", "", "the same file with another seed", source)
    found = [
        replace(same, name=f"{start}/null/another seed {n}", other_seed=True)
        for n in range(NULLS // 2)
    ]
    floats = [c.name for c in constants(source) if isinstance(c.value, float) and c.value]
    for name in random.Random(f"landscape: nulls of {start}").sample(floats, NULLS - len(found)):
        title, moved = f"{name} times 1 + 1e-6", nudged(source, name)
        found.append(replace(same, name=f"{start}/null/{title}", title=title, source=moved))
    return found


def _keeps_contract(source: str) -> bool:
    """What does not is turned down before it costs a campaign anything."""
    with contextlib.suppress(contract.ContractBroken):
        contract.read(source, _longest())
        return True
    return False


def _longest() -> int:
    return find_preset(PRESET).max_seq_len
