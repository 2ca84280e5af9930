"""Numbers: the constants of train.py that state a range or a choice, several at a time.

What their values may be worth is drawn from a Gaussian process over all that was measured (module
``surrogate``), and the values that are best in this draw are proposed: Thompson sampling
(Thompson, 1933), which tries what is unknown and takes what is known to pay. Several constants
change at once, because a heat tells as much of their sum as of one of them, and a larger gain is
seen above the noise in fewer heats. One of them at least is of the category's own section.

All is made anew for every proposal, from the history alone, by a generator seeded with campaign
and trial: a campaign that was stopped and resumed proposes the same points as one that was not.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.campaign.records import Trial
from agent.edits.blocks import TITLE_LENGTH, EditError, parse, render
from agent.edits.constants import constants, format_literal, set_constants
from agent.judge import FAILURES
from agent.proposers.axes import Axis, Point, tunable
from agent.proposers.base import Context, NothingToPropose, Proposal, rejected
from agent.proposers.prompts import trial_record
from agent.proposers.surrogate import Curve, sample

REACH = 0.3
"""Farthest from the champion that a constant is set, as a share of its range: so that a step that
paid can be followed by a longer one, and nothing jumps to where nobody has been."""
MOST = 4
"""How many constants change at a time at most."""
DRAWS = 16
"""Most draws for one new point."""


class Tuner:
    """Proposes values for constants."""

    name = "tuner"
    attempts = 3

    def __init__(
        self,
        *,
        most: int = MOST,
        reach: float = REACH,
        joint: bool = True,
        avoids: bool = True,
        listens: bool = True,
    ) -> None:
        """The keywords are what ``benchmarks.search.numbers`` leaves out in turn.

        Args:
            most: constants that change at a time.
            reach: see ``REACH``.
            joint: whether constants of other sections may change with those of the category's.
            avoids: whether values from which a training failed on are left alone.
            listens: whether it learns of constants from other proposers' trials, too.
        """
        self.most, self.reach, self.joint = most, reach, joint
        self.avoids, self.listens = avoids, listens

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        own, every = self._axes(context)
        # Each rejected reply counts as an untried point that does not work on this champion.
        left = _untried(own, every, _tried(every, context))
        return next(itertools.islice(left, rejected(context, self.name), None), None) is not None

    def propose(self, context: Context) -> Proposal:
        own, every = self._axes(context)
        if not own:
            raise NothingToPropose(f"no constant of the {context.category} section states a range")
        changes, hypothesis = self._draw(context, own, every)
        reply = setting(context, changes, hypothesis)
        point = {"before": {axis.name: axis.champion for axis in every}, "after": changes}
        return Proposal(self.name, reply, trial_record(context), data=point)

    def _axes(self, context: Context) -> tuple[Sequence[Axis], Sequence[Axis]]:
        """The constants of the category's section, and all that may change with them: those of
        the program's other categories, since of what is none the user wants no change."""
        own = tunable(context.source, context.category)
        if not self.joint:
            return own, own
        names = (name for name in context.program.names if name != context.category)
        others = (tunable(context.source, name) for name in names)
        return own, [*own, *itertools.chain.from_iterable(others)]

    def _draw(
        self, context: Context, own: Sequence[Axis], axes: Sequence[Axis]
    ) -> tuple[dict[str, Any], str]:
        """Changes that were not tried, and the hypothesis behind them."""
        seed = f"tuner:{context.seed}:{context.trial}:{context.category}:{len(context.feedback)}"
        dice, tried, mine = random.Random(seed), _tried(axes, context), {axis.name for axis in own}
        generator = np.random.default_rng(dice.getrandbits(64))
        past = [one for one in measured(context) if self.listens or one.is_own]
        offered = self._offered(axes, past)
        told = [one for one in past if one.error is not None]
        curves = [_curve(axis, offered[axis.name], told) for axis in axes]
        differences, errors = ([getattr(o, n) for o in told] for n in ("difference", "error"))
        for _ in range(DRAWS):
            gains = sample(
                curves,
                np.array(differences, float),
                np.array(errors, float),
                context.noise["numbers"],
                generator,
            )
            best = sorted(
                (float(-found.max()), axis.name, offered[axis.name][int(found.argmax())])
                for axis, found in zip(axes, gains, strict=True)
                if len(found)
            )
            chosen = [one for one in best if one[0] < 0][: self.most]
            if not any(name in mine for _, name, _ in chosen):
                chosen = [*chosen[: self.most - 1], *[b for b in best if b[1] in mine][:1]]
            changes = {name: value for _, name, value in chosen}
            if mine & changes.keys() and _key(axes, changes) not in tried:
                return changes, _why(changes, axes, len(told))
        left = _untried(own, axes, tried)
        if found := list(itertools.islice(left, 4 * DRAWS)):
            return dice.choice(found), "One of the few untried points of this section."
        raise NothingToPropose(f"every point of the {context.category} section was tried")

    def _offered(self, axes: Sequence[Axis], past: Sequence[Measured]) -> dict[str, list[Any]]:
        """Values of each constant that are near enough, without those that fail."""
        found = {}
        failures = [one for one in past if one.error is None and one.is_own and self.avoids]
        refused = [_blamed(one, axes, past) for one in failures]
        for axis in axes:
            low, high = axis.interval(self.reach) if axis.is_ordered else (-math.inf, math.inf)
            here = axis.place(axis.champion)
            for name, place in filter(None, refused):
                if name == axis.name and axis.is_ordered:
                    low, high = (low, min(high, place)) if place > here else (max(low, place), high)
            bad = {place for name, place in filter(None, refused) if name == axis.name}
            places = ((value, axis.place(value)) for value in axis.others)
            found[axis.name] = [
                v for v, place in places if low <= place <= high and place not in bad
            ]
        return found


def _curve(axis: Axis, values: Sequence[Any], past: Sequence[Measured]) -> Curve:
    def places(points: Iterable[Point]) -> Any:
        return np.array([axis.place_in(p) for p in points], float)

    return Curve(
        here=axis.place(axis.champion),
        candidates=np.array([axis.place(value) for value in values], float),
        before=places(one.before for one in past),
        after=places(one.after for one in past),
        is_ordered=axis.is_ordered,
    )


def _blamed(
    failure: Measured, axes: Sequence[Axis], past: Sequence[Measured]
) -> tuple[str, float] | None:
    """The constant that a failed training is put down to, and its place there: of those changed
    the one that is farthest from all places with which a training has scored."""
    worst: tuple[float, str, float] | None = None
    for axis in axes:
        place = axis.place_in(failure.after)
        scored = [p for one in past if one.error is not None for p in (one.before, one.after)]
        distance = min(abs(axis.place_in(point) - place) for point in ({}, *scored))
        if distance > 0 and (worst is None or distance > worst[0]):
            worst = distance, axis.name, place
    return worst and worst[1:]


def _why(changes: Point, axes: Sequence[Axis], count: int) -> str:
    meant = {axis.name: axis.meaning for axis in axes}
    what = "; ".join(f"{name} ({meant[name]})" if meant[name] else name for name in changes)
    said = f"what {count} trials of constants showed" if count else "what is usual of constants"
    return f"{what}: these values gain most in one draw of what is plausible after {said}."


def setting(context: Context, changes: Point, hypothesis: str) -> str:
    """The reply that gives these constants of the champion other values."""
    champion = {one.name: one.value for one in constants(context.source)}
    title = ", ".join(
        f"{name} {_shown(champion[name])} → {_shown(value)}" for name, value in changes.items()
    )
    if len(title) > TITLE_LENGTH:
        hypothesis = f"{hypothesis} {title}"
    blocks = set_constants(context.source, changes)
    return render(context.category, hypothesis, blocks, title=title)


# --- what the history says ---


@dataclass(frozen=True)
class Measured:
    """What a trial has shown of constants."""

    before: Point
    """Values in the champion of that time, at least of those that changed."""
    after: Point
    difference: float = 0.0
    """Bits per byte, positive is better."""
    error: float | None = None
    """Its standard error; None if the training failed."""
    is_own: bool = True
    """Whether the tuner has proposed it."""


@functools.lru_cache(maxsize=1024)  # read again for each later trial
def _set(reply: str) -> tuple[Point, Point]:
    """The constants that an edit's blocks set, before and after; none if it cannot be read."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    try:
        for block in parse(reply).blocks:
            before |= {one.name: one.value for one in constants(block.search)}
            after |= {one.name: one.value for one in constants(block.replace)}
    except (EditError, SyntaxError):
        return {}, {}
    return before, after


def _point(trial: Trial) -> tuple[Point, Point]:
    """The constants' values before and after. They used to be written below the reply."""
    written = re.search(r"^point: (\{.*\})$", trial.reply, re.MULTILINE)
    data = json.loads(written[1]) if written and not trial.data else trial.data
    if "before" not in data:
        return _set(trial.reply)
    return data["before"], {**data["before"], **data["after"]}


def measured(context: Context) -> list[Measured]:
    """What the tuner's trials have shown, and those of others that changed nothing but constants.

    Others' failures are left out: a model's number fails for reasons of its own.
    """
    found, by = [], context.program.objective.recorded()
    for trial in context.history:
        is_own = trial.proposer == Tuner.name
        is_numbers = is_own or (
            trial.hunks and all(hunk.startswith("number:") for hunk in trial.hunks)
        )
        if not is_numbers or trial.verdict not in ("keep", "revert") or not trial.holds_by(by):
            continue  # by another objective its gain is of another kind
        before, after = _point(trial)
        if not after or before.keys() != after.keys():
            continue
        has_failed = trial.status in FAILURES
        mean, error = trial.difference or (trial.gain, context.noise[trial.kind])
        if has_failed and is_own:
            found.append(Measured(before, after))
        elif not has_failed and mean is not None:
            found.append(Measured(before, after, mean, error, is_own))
    return found


def _key(axes: Iterable[Axis], point: Point) -> tuple[Any, ...]:
    """Key by which points are compared; a constant that a point lacks has the champion's value."""
    return tuple(point.get(axis.name, axis.champion) for axis in axes)


def _tried(axes: Sequence[Axis], context: Context) -> set[tuple[Any, ...]]:
    """All champions, all points that the tuner has proposed, and what was turned down just now."""
    own = [point for m in measured(context) if m.is_own for point in (m.before, m.after)]
    return {_key(axes, point) for point in ({}, *own, *(_set(r)[1] for r in context.turned_down))}


def _untried(
    own: Sequence[Axis], every: Sequence[Axis], tried: Collection[tuple[Any, ...]]
) -> Iterator[dict[str, Any]]:
    """Changes to one constant, then to two, then to three, that lead to an untried point."""
    for size in range(1, 1 + min(3, len(own))):
        for chosen in itertools.combinations(own, size):
            for values in itertools.product(*(axis.others for axis in chosen)):
                changes = {axis.name: value for axis, value in zip(chosen, values, strict=True)}
                if _key(every, changes) not in tried:
                    yield changes


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else format_literal(value)
