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
from dataclasses import dataclass
from typing import Any

from agent.campaign.records import Trial
from agent.edits.blocks import TITLE_LENGTH, render
from agent.edits.constants import Choice, Constant, Range, constants, format_literal, set_constants
from agent.proposers.base import Context, NothingToPropose, Proposal
from agent.proposers.prompts import trial_record

Point = Mapping[str, Any]

FIRST_RADIUS = 0.15
"""Radius around the champion for the first points, as a share of the range (on its own scale)."""
MIN_STEP = 0.02
"""Share of a range; a smaller step could not be distinguished from no step."""
ROUNDING = 0.01
"""Share of a range by which a number may be moved to be written with fewer digits."""
DRAWS = 64
"""Most draws for one new point; with each the neighbourhood grows and rounding gets finer."""
MOST_LEVELS = 1000
"""An integer range with more values than this never counts as exhausted."""
HOW_MANY = ((1, 5), (2, 3), (3, 2))
"""How many constants change at a time, with weights. Few, to see from a verdict which mattered."""
FAILED = -10.0
"""Gain, in units of the noise of structure, that is assigned to a point whose training failed."""


class Tuner:
    """Proposes values for the constants of the section that is named like the category."""

    name = "tuner"
    attempts = 3

    def covers(self, context: Context) -> bool:
        axes = tunable(context.source, context.category)
        if not axes:
            return False
        if any(axis.levels is None for axis in axes):
            return True
        # Each rejected reply counts as an untried point that does not work on this champion.
        rejected = _rejected(context)
        tried = _tried(axes, measured(context))
        return len(list(itertools.islice(_untried(axes, tried), rejected + 1))) > rejected

    def propose(self, context: Context) -> Proposal:
        axes = {axis.name: axis for axis in tunable(context.source, context.category)}
        if not axes:
            raise NothingToPropose(f"no constant of the {context.category} section states a range")
        champion = {name: axis.champion for name, axis in axes.items()}
        changes, hypothesis = _draw(context, axes)
        blocks = set_constants(context.source, changes)
        title = ", ".join(
            f"{name} {_shown(champion[name])} → {_shown(value)}" for name, value in changes.items()
        )
        if len(title) > TITLE_LENGTH:
            hypothesis = f"{hypothesis} {title}"
        reply = render(context.category, hypothesis, blocks, title=title)
        point = {"before": champion, "after": champion | changes}
        return Proposal(self.name, reply, trial_record(context), data=point)


# --- constants as axes ---


@dataclass(frozen=True)
class Axis:
    """One constant: its values, and their position in [0, 1] if they have an order."""

    name: str
    champion: Any
    domain: Range | Choice
    meaning: str
    """The constant's comment without the domain."""

    @functools.cached_property
    def levels(self) -> tuple[Any, ...] | None:
        """All values, in order if there is one; None if they cannot be listed."""
        if isinstance(self.domain, Choice):
            options = self.domain.options
            return tuple(sorted(set(options)) if self.is_ordered else options)
        low, high = math.ceil(self.domain.low), math.floor(self.domain.high)
        if self.domain.integer and high - low < MOST_LEVELS:
            return tuple(range(low, high + 1))
        return None

    @property
    def is_ordered(self) -> bool:
        """Whether the values have an order; words do not."""
        return isinstance(self.domain, Range) or all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in (self.champion, *self.domain.options)
        )

    def unit(self, value: float) -> float:
        """Position of a value of an ordered axis, in [0, 1]."""
        if isinstance(self.domain, Range):
            low, high = self._scale(self.domain.low), self._scale(self.domain.high)
            return min(1.0, max(0.0, (self._scale(value) - low) / (high - low)))
        levels = self.levels or ()
        nearest = min(range(len(levels)), key=lambda i: abs(levels[i] - value))
        return nearest / max(1, len(levels) - 1)

    def value(self, unit: float, rounding: float = ROUNDING) -> Any:
        """The value at position ``unit``, with as few digits as a shift of ``rounding`` allows."""
        if isinstance(self.domain, Choice):
            levels = self.levels or ()
            return levels[round(unit * (len(levels) - 1))]
        low, high = self._scale(self.domain.low), self._scale(self.domain.high)
        x = low + unit * (high - low)
        x = math.exp(x) if self.domain.log else x
        if self.domain.integer:
            return int(min(self.domain.high, max(self.domain.low, round(x))))
        for digits in range(1, 5):
            short = float(f"{x:.{digits}g}")
            if self.domain.low <= short <= self.domain.high and (
                abs(self.unit(short) - unit) <= rounding
            ):
                return short
        return min(self.domain.high, max(self.domain.low, float(f"{x:.4g}")))

    def interval(self, radius: float) -> tuple[float, float]:
        """Positions within ``radius`` of the champion; always includes both neighbouring levels."""
        here = self.unit(self.champion)
        if self.levels is not None:
            places = [self.unit(level) for level in self.levels]
            i = min(range(len(places)), key=lambda i: abs(places[i] - here))
            radius = max(radius, *(abs(place - here) for place in places[max(0, i - 1) : i + 2]))
        return max(0.0, here - radius), min(1.0, here + radius)

    def is_step(self, value: Any) -> bool:
        """Whether a change to ``value`` is large enough to show an effect."""
        if value == self.champion:
            return False
        far = self.levels is not None or not self.is_ordered
        return far or abs(self.unit(value) - self.unit(self.champion)) >= MIN_STEP

    def step(self, dice: random.Random, radius: float, rounding: float) -> Any:
        """A value one step up or down, by at least half the radius if the range allows it."""
        if not self.is_ordered:
            return dice.choice([option for option in self.levels or () if option != self.champion])
        here, (low, high) = self.unit(self.champion), self.interval(radius)
        ends = [end for end in (low, high) if abs(end - here) >= MIN_STEP] or [low, high]
        return self.value(here + dice.uniform(0.5, 1.0) * (dice.choice(ends) - here), rounding)

    def _scale(self, x: float) -> float:
        assert isinstance(self.domain, Range)
        # A champion outside its range may be a number without a logarithm.
        return math.log(max(x, self.domain.low)) if self.domain.log else float(x)


@functools.lru_cache(maxsize=4)
def _constants(source: str) -> tuple[Constant, ...]:
    return constants(source)


def tunable(source: str, category: str) -> list[Axis]:
    """Constants of the section whose domain has at least one other value."""
    axes = [
        Axis(c.name, c.value, c.domain, re.sub(r"\W*\b(range|choice)\b.*$", "", c.comment))
        for c in _constants(source)
        if c.section == category.lower() and c.domain is not None
    ]
    return [axis for axis in axes if axis.levels is None or {*axis.levels} - {axis.champion}]


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
    offset = 0.0
    for trial in reversed(_own(context)):
        point = _point(trial)
        if not point or trial.verdict not in ("keep", "revert"):
            continue
        before, after = point["before"], point["after"]
        changed = frozenset(name for name in after if after[name] != before[name])
        if trial.gain is None:
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


def _rejected(context: Context) -> int:
    """Number of replies of the tuner that were turned down on the current champion."""
    since = max((trial.trial for trial in context.history if trial.kept), default=0)
    past = [len(trial.rejections) for trial in _own(context) if trial.trial > since]
    return sum(past) + len(context.feedback)


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
            for values in itertools.product(
                *([v for v in axis.levels or () if v != axis.champion] for axis in chosen)
            ):
                changes = {axis.name: value for axis, value in zip(chosen, values, strict=True)}
                if _key(axes, changes) not in tried:
                    yield changes


# --- the next point ---


def _draw(context: Context, axes: Mapping[str, Axis]) -> tuple[dict[str, Any], str]:
    """Changes that lead to an untried point, and the hypothesis behind them."""
    attempt = len(context.feedback)
    dice = random.Random(f"tuner:{context.seed}:{context.trial}:{context.category}:{attempt}")
    past = measured(context)
    every = list(axes.values())
    tried = _tried(every, past)
    varied = frozenset().union(*(m.changed for m in past))
    unvaried = [axis for axis in every if axis.name not in varied]
    # After a reply was turned down, use TPE, which may propose something that works.
    first_look = bool(unvaried) and not attempt
    study = None if first_look else _study(every, past, dice.getrandbits(32))
    radius = FIRST_RADIUS * 2 ** min(8.0, _reverts(context) / (2 * len(every)))
    for draw in range(DRAWS):
        reach, rounding = min(1.0, radius * 2 ** (draw / 16)), ROUNDING * 0.5 ** (draw / 8)
        if study is None:
            axis = dice.choice(unvaried)
            changes = {axis.name: axis.step(dice, reach, rounding)}
            what = f"{axis.name} ({axis.meaning})" if axis.meaning else axis.name
            why = f"{what} was not varied yet; one step shows which way it pays to go."
        else:
            sizes, weights = zip(*HOW_MANY, strict=True)
            size = min(len(every), dice.choices(sizes, weights)[0])
            changes = _ask(study, dice.sample(every, size), reach, rounding)
            why = (
                f"Of {len(past)} points measured in this section the better ones lie denser here "
                "than the worse ones (TPE)."
            )
        changes = {name: value for name, value in changes.items() if axes[name].is_step(value)}
        if changes and _key(every, changes) not in tried:
            return changes, why
    if all(axis.levels is not None for axis in every):
        left = list(itertools.islice(_untried(every, tried), DRAWS))
        if left:
            return dice.choice(left), "One of the few untried points of this section."
    raise NothingToPropose(f"every point of the {context.category} section was tried")


def _study(axes: Sequence[Axis], past: Sequence[Measured], seed: int) -> Any:
    """A study of the measured points, with the champion as gain 0."""
    import optuna  # slow to import, and most commands never need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(n_startup_trials=0, seed=seed)
    )
    for point, gain in [({}, 0.0), *((m.point, m.gain) for m in reversed(past))]:
        params: dict[str, Any] = {}
        for axis in axes:
            value = point.get(axis.name, axis.champion)
            if axis.is_ordered:
                params[axis.name] = axis.unit(value)
            elif value in (axis.levels or ()):  # an edit may have taken the option away
                params[axis.name] = (axis.levels or ()).index(value)
        whole = {axis.name: _distribution(axis, 1.0) for axis in axes if axis.name in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=whole, value=gain))
    return study


def _ask(study: Any, axes: Sequence[Axis], radius: float, rounding: float) -> dict[str, Any]:
    params = study.ask({axis.name: _distribution(axis, radius) for axis in axes}).params
    return {
        axis.name: axis.value(place, rounding) if axis.is_ordered else (axis.levels or ())[place]
        for axis in axes
        for place in [params[axis.name]]
    }


def _distribution(axis: Axis, radius: float) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not axis.is_ordered:
        return CategoricalDistribution(range(len(axis.levels or ())))
    return FloatDistribution(*axis.interval(radius))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else format_literal(value)
