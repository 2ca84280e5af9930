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
LATEST = 500
"""Most trials that it learns from: time grows with the third power, and what is old was measured on
champions of another kind."""
REFUSED = ("two trial steps failed", "contract")
"""How the reason begins for which a point was turned down that no training could have."""


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
    ) -> None:
        """The keywords are what ``benchmarks.search.numbers`` leaves out in turn.

        Args:
            most: constants that change at a time.
            reach: see ``REACH``.
            joint: whether constants of other sections may change with those of the category's.
            avoids: whether values from which a training failed on are left alone.
        """
        self.most, self.reach, self.joint, self.avoids = most, reach, joint, avoids

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        own, every = self._axes(context)
        past = measured(context) if own else []
        left = self._untried(own, every, _tried(every, context, past), past)
        # Any other rejected reply counts as an untried point that this champion has no use for.
        unknown = rejected(context, self.name, but=REFUSED)
        return next(itertools.islice(left, unknown, None), None) is not None

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
        dice, past, mine = random.Random(seed), measured(context), {axis.name for axis in own}
        generator, tried = np.random.default_rng(dice.getrandbits(64)), _tried(axes, context, past)
        offered = self._offered(axes, axes, past, self.reach)
        told = [one for one in past if one.error is not None][-LATEST:]
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
            chosen.sort(key=lambda one: one[1] not in mine)  # the title begins with its section's
            changes = {name: value for _, name, value in chosen}
            if mine & changes.keys() and _key(axes, changes) not in tried:
                return changes, _why(changes, axes, len(told))
        left = self._untried(own, axes, tried, past)
        if found := list(itertools.islice(left, 4 * DRAWS)):
            return dice.choice(found), "One of the few untried points of this section."
        raise NothingToPropose(f"every point of the {context.category} section was tried")

    def _offered(
        self, wanted: Sequence[Axis], axes: Sequence[Axis], past: Sequence[Measured], reach: float
    ) -> dict[str, list[Any]]:
        """Values of each constant wanted that are near enough, without those that fail.

        Args:
            axes: all that changed, of which one each is to blame for a failure.
        """
        found = {}
        refused = _blamed(axes, past) if self.avoids else {}
        for axis in wanted:
            low, high = axis.interval(reach) if axis.is_ordered else (-math.inf, math.inf)
            here = axis.place(axis.champion)
            bad, fine = refused.get(axis.name, set()), _scored(axis, past)
            for place in bad if axis.is_ordered else ():
                if here < place > max(fine):  # else it was not the distance
                    high = min(high, place)
                elif here > place < min(fine):
                    low = max(low, place)
            places = ((value, axis.place(value)) for value in axis.others)
            found[axis.name] = [
                v for v, place in places if low <= place <= high and place not in bad
            ]
        return found

    def _untried(
        self,
        own: Sequence[Axis],
        every: Sequence[Axis],
        tried: Collection[tuple[Any, ...]],
        past: Sequence[Measured],
    ) -> Iterator[dict[str, Any]]:
        """Changes to one constant, then to two, then to three, that lead to an untried point,
        however far, but not to where a training failed."""
        offered = self._offered(own, every, past, math.inf)
        for size in range(1, 1 + min(3, len(own))):
            for chosen in itertools.combinations(offered, size):
                for values in itertools.product(*(offered[name] for name in chosen)):
                    changes = dict(zip(chosen, values, strict=True))
                    if _key(every, changes) not in tried:
                        yield changes


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


def _scored(axis: Axis, past: Sequence[Measured]) -> list[float]:
    """The places with which a training has scored, the champion's among them."""
    points = (p for one in past if one.error is not None for p in (one.before, one.after))
    values = {point.get(axis.name, axis.champion) for point in ({}, *points)}
    return [axis.place_in({axis.name: value}) for value in values]


def _blamed(axes: Sequence[Axis], past: Sequence[Measured]) -> dict[str, set[float]]:
    """By constant, the places that failures are put down to: of the constants that a failure
    changed, the one that is farthest from all places with which a training has scored."""
    failures = [one.after for one in past if one.error is None]
    fine = {axis.name: _scored(axis, past) for axis in axes} if failures else {}
    found: dict[str, set[float]] = {}
    for point in failures:
        places = [(axis.name, axis.place_in(point)) for axis in axes]
        far = [(min(abs(p - place) for p in fine[name]), name, place) for name, place in places]
        distance, name, place = max(far, key=lambda one: one[0], default=(0.0, "", 0.0))
        if distance > 0:
            found.setdefault(name, set()).add(place)
    return found


def _why(changes: Point, axes: Sequence[Axis], count: int) -> str:
    """All changes, of which the title has room for the first, and where they come from."""
    steps = []
    for axis in (axis for name in changes for axis in axes if axis.name == name):
        meaning = f" ({axis.meaning})" if axis.meaning else ""
        steps.append(_step(axis.name, axis.champion, changes[axis.name]) + meaning)
    fit = f"fit {count} trial{'s' if count > 1 else ''} of constants" if count else "are usual"
    gain = "These values gain" if len(steps) > 1 else "This value gains"
    return f"{gain} most in a random draw of curves that {fit}: {'; '.join(steps)}."


def setting(context: Context, changes: Point, hypothesis: str) -> str:
    """The reply that gives these constants of the champion other values."""
    champion = {one.name: one.value for one in constants(context.source)}
    steps = [_step(name, champion[name], value) for name, value in changes.items()]
    title, shown = ", ".join(steps), len(steps)
    while len(title) > TITLE_LENGTH and shown > 1:
        shown -= 1
        title = f"{', '.join(steps[:shown])} and {len(steps) - shown} more"
    blocks = set_constants(context.source, changes)
    return render(context.category, hypothesis, blocks, title=title)


def _step(name: str, old: Any, new: Any) -> str:
    return f"{name} {_shown(old)} → {_shown(new)}"


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
    """The constants that an edit's blocks set, before and after; none if it cannot be read, or
    changes a line that is no constant with a domain."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    try:
        for block in parse(reply).blocks:
            kept = []
            for side, values in ((block.search, before), (block.replace, after)):
                stated = {one.line: one for one in constants(side) if one.domain is not None}
                values |= {one.name: one.value for one in stated.values()}
                lines = enumerate(side.split("\n"), 1)
                kept.append([stated[n].name if n in stated else line for n, line in lines])
            if kept[0] != kept[1]:
                return {}, {}
    except (EditError, SyntaxError):
        return {}, {}
    return before, after


def _point(trial: Trial) -> tuple[Point, Point]:
    """The constants' values before and after. They used to be written below the reply."""
    data = trial.data
    if not data and trial.proposer == Tuner.name:
        written = re.search(r"^point: (\{.*\})$", trial.reply, re.MULTILINE)
        data = json.loads(written[1]) if written else {}
    if "before" not in data:  # another's, which remembers other things, or nothing
        return _set(trial.reply)
    return data["before"], {**data["before"], **data["after"]}


def measured(context: Context) -> list[Measured]:
    """What the tuner's trials have shown, and those of others that changed nothing but constants.

    Others' failures are left out: a model's number fails for reasons of its own.
    """
    found, by = (
        _refused(context.turned_down, context.feedback),
        context.program.objective.recorded(),
    )
    for trial in context.history:
        if trial.proposer == Tuner.name:
            found += _refused(trial.turned_down, trial.rejections)
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
        elif not has_failed and mean is not None and math.isfinite(mean) and math.isfinite(error):
            found.append(Measured(before, after, mean, error, is_own))
    return found


def _refused(replies: Iterable[str], reasons: Iterable[str]) -> list[Measured]:
    """Points that were turned down because they cannot be trained."""
    points = [
        _set(reply)
        for reply, reason in zip(replies, reasons, strict=False)
        if reason.startswith(REFUSED)
    ]
    return [Measured(before, after) for before, after in points if after]


def _key(axes: Iterable[Axis], point: Point) -> tuple[Any, ...]:
    """Key by which points are compared; a constant that a point lacks has the champion's value."""
    return tuple(point.get(axis.name, axis.champion) for axis in axes)


def _tried(
    axes: Sequence[Axis], context: Context, past: Iterable[Measured]
) -> set[tuple[Any, ...]]:
    """All champions, all points that the tuner has proposed, and what was turned down just now."""
    own = [point for m in past if m.is_own for point in (m.before, m.after)]
    own += [_point(trial)[1] for trial in context.pending]  # what is being measured is not, too
    return {_key(axes, point) for point in ({}, *own, *(_set(r)[1] for r in context.turned_down))}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else format_literal(value)
