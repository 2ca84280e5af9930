"""Numbers: Optuna's TPE over the constants of one section of train.py (Bergstra et al., 2011).

A new study is made for every proposal, from the history alone, with a sampler seeded by campaign
and trial: a campaign that was stopped and resumed proposes the same points as one that was not.

A constant that was never varied is varied first, alone, by a step that is large enough to show
above the noise. Then TPE proposes one to three constants at a time, in a neighbourhood of the
champion that widens as long as nothing in it is kept: with noise and a few dozen trials, a search
near a good point finds more than a search of the whole space.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.campaign.records import Trial
from agent.edits.blocks import TITLE_LENGTH, render
from agent.edits.constants import Choice, Range, constants, format_literal, set_constants
from agent.judge import OVERSIZE
from agent.proposers.base import Context, NothingToPropose, Proposal, rejected
from agent.proposers.prompts import trial_record

Point = Mapping[str, Any]

FIRST_RADIUS = 0.15
"""Radius around the champion for the first points, as a share of the range (on its own scale)."""
MIN_STEP = 0.02
"""Share of a range; a smaller step could hardly be distinguished from no step."""
STEPS = 48
"""Steps of a range's coarsest grid, a little over ``MIN_STEP`` each."""
FINEST = 3
"""Times that these steps are halved, each time after all values so far have been used up."""
LISTED = 500
"""Most whole numbers that a range may have to be proposed all from the start."""
DRAWS = 64
"""Most draws for one new point; with each the neighbourhood grows."""
HOW_MANY = ((1, 5), (2, 3), (3, 2))
"""How many constants change at a time, with weights. Few, to see from a verdict which mattered."""
FAILED = -10.0
"""Gain, in units of the noise of structure, that is assigned to a point whose training failed."""


class Tuner:
    """Proposes values for the constants of the section that is named like the category."""

    name = "tuner"
    attempts = 3

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        axes = _axes(context)
        # Each rejected reply counts as an untried point that does not work on this champion.
        left = _untried(axes, _tried(axes, measured(context)))
        spent = rejected(context, self.name)
        return next(itertools.islice(left, spent, None), None) is not None

    def propose(self, context: Context) -> Proposal:
        axes = _axes(context)
        if not axes:
            raise NothingToPropose(f"no constant of the {context.category} section states a range")
        champion = {axis.name: axis.champion for axis in axes}
        changes, hypothesis = _draw(context, axes)
        reply = setting(context, changes, hypothesis)
        point = {"before": champion, "after": champion | changes}
        return Proposal(self.name, reply, trial_record(context), data=point)


def setting(context: Context, changes: Point, hypothesis: str) -> str:
    """The reply that gives these constants of the champion other values."""
    champion = {axis.name: axis.champion for axis in tunable(context.source, context.category)}
    title = ", ".join(
        f"{name} {_shown(champion[name])} → {_shown(value)}" for name, value in changes.items()
    )
    if len(title) > TITLE_LENGTH:
        hypothesis = f"{hypothesis} {title}"
    blocks = set_constants(context.source, changes)
    return render(context.category, hypothesis, blocks, title=title)


# --- constants as axes ---


@dataclass(frozen=True)
class Axis:
    """One constant, and the other values that it may take."""

    name: str
    champion: Any
    domain: Range | Choice
    meaning: str
    """The constant's comment without the domain."""
    fine: int = 0
    """Times that the steps of a range's grid are halved."""

    @functools.cached_property
    def others(self) -> tuple[Any, ...]:
        """All other values, in order if there is one; of a long range those of a grid that are far
        enough from the champion to show an effect."""
        if isinstance(self.domain, Choice):
            options = self.domain.options
            found = sorted(set(options)) if self.is_ordered else options
            return tuple(value for value in found if value != self.champion)
        low, high, steps = self.domain.low, self.domain.high, STEPS * 2**self.fine
        if self.domain.integer and high - low < LISTED:
            whole = range(math.ceil(low), math.floor(high) + 1)
            return tuple(value for value in whole if value != self.champion)
        # Rounded by up to half a step, so that no round number falls between two places.
        grid = {_short(self.domain, i / steps, 0.5001 / steps) for i in range(steps + 1)}
        if self.domain.integer:  # sizes are often powers of two
            grid |= {2**k for k in range(int(high).bit_length()) if low <= 2**k <= high}
        here, least = self.place(self.champion), MIN_STEP / 2**self.fine
        return tuple(sorted(value for value in grid if abs(self.place(value) - here) >= least))

    def unused(self, seen: set[Any]) -> Axis:
        """This axis with the coarsest grid that has a value not seen yet."""
        finer = [replace(self, fine=fine) for fine in range(FINEST + 1)]
        return next((axis for axis in finer if {*axis.others} - seen), finer[-1])

    @property
    def is_ordered(self) -> bool:
        """Whether the values have an order; words do not."""
        return isinstance(self.domain, Range) or all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in (self.champion, *self.domain.options)
        )

    def place(self, value: Any) -> float:
        """Position of a value: in [0, 1], or among all if these have no order."""
        if isinstance(self.domain, Range):
            return self.domain.place(value)
        if not self.is_ordered:
            return (self.champion, *self.others).index(value)
        distances = [abs(option - value) for option in sorted(set(self.domain.options))]
        return distances.index(min(distances)) / max(1, len(distances) - 1)

    def value(self, place: float) -> Any:
        """The value nearest to a position, which may be the champion's."""
        return min((*self.others, self.champion), key=lambda value: abs(self.place(value) - place))

    def interval(self, radius: float) -> tuple[float, float]:
        """Positions within ``radius`` of the champion; always includes both neighbouring values."""
        here = self.place(self.champion)
        steps = [self.place(value) - here for value in self.others]
        up = min((step for step in steps if step > 0), default=0.0)
        down = min((-step for step in steps if step < 0), default=0.0)
        radius = max(radius, up, down)
        return max(0.0, here - radius), min(1.0, here + radius)

    def step(self, dice: random.Random, radius: float) -> Any:
        """A value one step up or down, by at least half the radius if the range allows it."""
        if not self.is_ordered:
            return dice.choice(self.others)
        here, (low, high) = self.place(self.champion), self.interval(radius)
        ends = [end for end in (low, high) if abs(end - here) >= MIN_STEP] or [low, high]
        return self.value(here + dice.uniform(0.5, 1.0) * (dice.choice(ends) - here))


def _short(domain: Range, place: float, rounding: float) -> float:
    """The value at a position of a range, with as few digits as a shift of ``rounding`` allows."""
    number, most = (round, 15) if domain.integer else (float, 4)
    x = number(domain.value(place))
    for digits in range(1, most + 1):
        short = float(f"{x:.{digits}g}")
        if domain.low <= short <= domain.high and abs(domain.place(short) - place) <= rounding:
            return number(short)
    return number(min(domain.high, max(domain.low, float(f"{x:.{most}g}"))))


def tunable(source: str, category: str) -> list[Axis]:
    """Constants of the section whose domain has at least one other value."""
    axes = [
        Axis(c.name, c.value, c.domain, re.sub(r"\W*\b(range|choice)\b.*$", "", c.comment))
        for c in constants(source)
        if c.section == category.lower() and c.domain is not None
    ]
    return [axis for axis in axes if axis.others]


def _axes(context: Context) -> list[Axis]:
    """The section's constants, each with the grid that it has come to."""
    past = measured(context)
    axes = tunable(context.source, context.category)
    return [axis.unused({m.point.get(axis.name) for m in past}) for axis in axes]


# --- what the history says ---


@dataclass(frozen=True)
class Measured:
    """A point that was trained."""

    point: Point
    changed: frozenset[str]
    """Constants in which it differed from the champion at that time."""
    gain: float
    """Gain over the current values of the champion, in units of the noise of structure."""


def _point(trial: Trial) -> Mapping[str, Point]:
    """The constants' values before and after. They used to be written below the reply."""
    written = re.search(r"^point: (\{.*\})$", trial.reply, re.MULTILINE)
    return json.loads(written[1]) if written and not trial.data else trial.data


def _own(context: Context) -> list[Trial]:
    """The tuner's own finished trials in this category, oldest first."""
    return [
        trial
        for trial in context.history
        if trial.category == context.category and trial.proposer == Tuner.name
    ]


def measured(context: Context) -> list[Measured]:
    """Points of the category's section, newest first.

    A gain was measured against the champion at that time. Later keeps in this section changed its
    values, so their gains are subtracted; keeps in other sections are assumed to be additive.
    """
    found: list[Measured] = []
    offset, by = 0.0, context.program.objective.recorded()
    for trial in reversed(_own(context)):
        point = _point(trial)
        if not point or trial.verdict not in ("keep", "revert"):
            continue
        if not trial.holds_by(by):  # its gain is of another kind
            continue
        before, after = point["before"], point["after"]
        changed = frozenset(name for name in after if after[name] != before[name])
        if trial.gain is None or trial.status == OVERSIZE:
            found.append(Measured(after, changed, FAILED))
            continue
        gain = trial.gain / context.noise["structure"]
        if trial.kept:
            found.append(Measured(after, changed, offset))
            offset -= gain
            found.append(Measured(before, frozenset(), offset))
        else:
            found.append(Measured(after, changed, offset + gain))
    return found


def _reverts(context: Context) -> int:
    """The tuner's reverted trials in this category since the last one that was kept."""
    last = itertools.takewhile(lambda trial: not trial.kept, reversed(_own(context)))
    return sum(trial.verdict == "revert" for trial in last)


def _key(axes: Iterable[Axis], point: Point) -> tuple[Any, ...]:
    """Key by which points are compared; a constant that a point lacks has the champion's value."""
    return tuple(point.get(axis.name, axis.champion) for axis in axes)


def _tried(axes: Sequence[Axis], past: Iterable[Measured]) -> set[tuple[Any, ...]]:
    return {_key(axes, {}), *(_key(axes, m.point) for m in past)}


def _untried(axes: Sequence[Axis], tried: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Changes to one constant, then to two, then to three, that lead to an untried point."""
    for size, _ in HOW_MANY:
        for chosen in itertools.combinations(axes, size):
            for values in itertools.product(*(axis.others for axis in chosen)):
                changes = {axis.name: value for axis, value in zip(chosen, values, strict=True)}
                if _key(axes, changes) not in tried:
                    yield changes


# --- the next point ---


def _draw(context: Context, every: Sequence[Axis]) -> tuple[dict[str, Any], str]:
    """Changes that lead to an untried point, and the hypothesis behind them."""
    attempt = len(context.feedback)
    dice = random.Random(f"tuner:{context.seed}:{context.trial}:{context.category}:{attempt}")
    past = measured(context)
    tried = _tried(every, past)
    varied = frozenset().union(*(m.changed for m in past))
    unvaried = [axis for axis in every if axis.name not in varied]
    # After a reply was turned down, use TPE, which may propose something that works.
    first_look = bool(unvaried) and not attempt
    study = None if first_look else _study(every, past, dice.getrandbits(32))
    radius = FIRST_RADIUS * 2 ** min(8.0, _reverts(context) / (2 * len(every)))
    for draw in range(DRAWS):
        reach = min(1.0, radius * 2 ** (draw / 16))
        if study is None:
            axis = dice.choice(unvaried)
            changes = {axis.name: axis.step(dice, reach)}
            what = f"{axis.name} ({axis.meaning})" if axis.meaning else axis.name
            why = f"{what} was not varied yet; one step shows which way it pays to go."
        else:
            sizes, weights = zip(*HOW_MANY, strict=True)
            size = min(len(every), dice.choices(sizes, weights)[0])
            changes = _ask(study, dice.sample(every, size), reach)
            why = (
                f"Of {len(past)} points measured in this section the better ones lie denser here "
                "than the worse ones (TPE)."
            )
        if _key(every, changes) not in tried:
            return changes, why
    if left := list(itertools.islice(_untried(every, tried), DRAWS)):
        return dice.choice(left), "One of the few untried points of this section."
    raise NothingToPropose(f"every point of the {context.category} section was tried")


def _study(axes: Sequence[Axis], past: Sequence[Measured], seed: int) -> Any:
    """A study of the measured points, with the champion as gain 0."""
    import optuna  # slow to import, and most commands never need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(n_startup_trials=0, seed=seed)
    )
    whole = {axis.name: _distribution(axis, 1.0) for axis in axes}
    for point, gain in [({}, 0.0), *((m.point, m.gain) for m in reversed(past))]:
        values = {axis.name: point.get(axis.name, axis.champion) for axis in axes}
        # An edit may have taken an option away.
        known = [a for a in axes if a.is_ordered or values[a.name] in (a.champion, *a.others)]
        params = {axis.name: axis.place(values[axis.name]) for axis in known}
        spaces = {axis.name: whole[axis.name] for axis in known}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=gain))
    return study


def _ask(study: Any, axes: Sequence[Axis], radius: float) -> dict[str, Any]:
    """The changes that the study proposes to some of these constants."""
    params = study.ask({axis.name: _distribution(axis, radius) for axis in axes}).params
    values = {axis.name: axis.value(params[axis.name]) for axis in axes}
    return {axis.name: values[axis.name] for axis in axes if values[axis.name] != axis.champion}


def _distribution(axis: Axis, radius: float) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not axis.is_ordered:
        return CategoricalDistribution(range(1 + len(axis.others)))
    return FloatDistribution(*axis.interval(radius))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else format_literal(value)
