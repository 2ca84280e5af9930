"""What constants of a start are worth, as far as the recorded landscape knows: drawn, not trained.

A constant's effect is a curve over its range, 0 at the start's own value: a Gaussian process along
the place in the range (Rasmussen and Williams, 2006, chapter 2), with an amplitude of its own. A
curve, its amplitude and a general bend downwards are conditioned on all recorded heats of the
constant; each simulated campaign draws another surface, so that what nobody measured stays open.
Effects add up, with an interaction of each two constants as large as the recorded pairs show it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.edits.constants import Choice, constants
from agent.proposers.axes import Axis, tunable
from benchmarks.landscape import Landscape, plan
from benchmarks.landscape.table import OK, Heat, RecordedEdit
from trainer.presets import find_preset

Array = npt.NDArray[np.float64]

PLACES = 65
"""Points of a curve; between them it is a straight line."""
AMPLITUDES = np.geomspace(0.002, 0.5, 28)
"""Bits per byte."""
DOUBT = 1.0
"""SD of the logarithm of a constant's amplitude about that of all."""
LENGTHS, BENDS = (0.15, 0.3, 0.6), (0.0, 0.02, 0.05, 0.1, 0.2)
"""How far along a range a curve forgets; what it loses at a range's length, in bits per byte."""
FAR = 0.3
"""Share of a range from which on an interaction is as large as it gets."""


@dataclass(frozen=True)
class Readings:
    """What is recorded of one constant: places, mean differences and their standard errors."""

    axis: Axis
    places: Array
    means: Array
    errors: Array
    failed: tuple[float, ...] = ()
    """Places where it was refused."""
    names: tuple[str, ...] = ()

    def without(self, i: int) -> Readings:
        left = [np.delete(a, i) for a in (self.places, self.means, self.errors)]
        return Readings(self.axis, *left, failed=self.failed)


def kernel(axis: Axis, a: Array, b: Array, length: float) -> Array:
    """Covariance of a curve of amplitude 1 that is 0 at the champion's place."""
    if not axis.is_ordered:  # each option by itself
        return np.asarray(a[:, None] == b[None, :], float)
    here = np.array([axis.place(axis.champion)])

    def rbf(x: Array, y: Array) -> Array:
        return np.asarray(np.exp(-0.5 * ((x[:, None] - y[None, :]) / length) ** 2))

    return rbf(a, b) - rbf(a, here) @ rbf(here, b)


def bend(axis: Axis, places: Array) -> Array:
    """The general loss with distance, of a bend of 1."""
    if not axis.is_ordered:
        return -np.ones(len(places))
    return -np.abs(places - axis.place(axis.champion))


@dataclass(frozen=True)
class Model:
    """All constants of a start, and what holds for them together."""

    readings: tuple[Readings, ...]
    length: float
    bend: float
    amplitude: float

    @classmethod
    def fit(cls, readings: Sequence[Readings]) -> Model:
        """Length, bend and usual amplitude of the greatest evidence, over a grid."""
        best, found = -math.inf, cls(tuple(readings), LENGTHS[0], 0.0, float(AMPLITUDES[0]))
        for length in LENGTHS:
            for slope in BENDS:
                rows = np.array([evidence(one, length, slope) for one in readings])
                for amplitude in AMPLITUDES:
                    total = float((np.logaddexp.reduce(rows + _log_doubt(amplitude), axis=1)).sum())
                    if total > best:
                        best = total
                        found = cls(tuple(readings), length, slope, float(amplitude))
        return found

    def shares(self, one: Readings) -> Array:
        """Posterior share of each amplitude, for one constant."""
        logs = evidence(one, self.length, self.bend) + _log_doubt(self.amplitude)
        shares = np.exp(logs - logs.max())
        return np.asarray(shares / shares.sum())

    def predict(self, one: Readings, places: Array) -> tuple[Array, Array]:
        """Mean and covariance of a constant's curve, over all amplitudes."""
        parts = [self.conditional(one, places, a) for a in AMPLITUDES]
        shares = self.shares(one)
        mean = sum(w * m for w, (m, _) in zip(shares, parts, strict=True))
        spread = sum(
            w * (c + np.outer(m - mean, m - mean)) for w, (m, c) in zip(shares, parts, strict=True)
        )
        return np.asarray(mean), np.asarray(spread)

    def conditional(self, one: Readings, places: Array, amplitude: float) -> tuple[Array, Array]:
        """Mean and covariance of a curve with this amplitude."""
        prior = self.bend * bend(one.axis, places)
        own = amplitude**2 * kernel(one.axis, places, places, self.length)
        if not len(one.places):
            return prior, own
        cross = amplitude**2 * kernel(one.axis, places, one.places, self.length)
        known = amplitude**2 * kernel(one.axis, one.places, one.places, self.length)
        solved = np.linalg.solve(known + np.diag(one.errors**2), cross.T)
        off = one.means - self.bend * bend(one.axis, one.places)
        return prior + solved.T @ off, own - cross @ solved


def _log_doubt(amplitude: float) -> Array:
    return np.asarray(-0.5 * (np.log(AMPLITUDES / amplitude) / DOUBT) ** 2)


def evidence(one: Readings, length: float, slope: float) -> Array:
    """Log marginal likelihood of a constant's readings for each amplitude."""
    if not len(one.places):
        return np.zeros(len(AMPLITUDES))
    shape, off = kernel(one.axis, one.places, one.places, length), one.means
    off = off - slope * bend(one.axis, one.places)
    found = []
    for amplitude in AMPLITUDES:
        covariance = amplitude**2 * shape + np.diag(one.errors**2)
        _, log_det = np.linalg.slogdet(covariance)
        found.append(-0.5 * (off @ np.linalg.solve(covariance, off) + log_det))
    return np.array(found)


@dataclass(frozen=True)
class Recording:
    """All that simulated campaigns take from the recorded heats of one start."""

    source: str
    """The start's constants, without choices that the trainer would turn down for nothing."""
    model: Model
    interaction: float
    """SD of what a pair gains beyond its parts, bits per byte."""
    differences: tuple[float, ...]
    """Noise of one heat's difference: what each lay off its edit's mean, drawn with replacement."""
    scores: tuple[float, ...]
    """What the base scored from heat to heat off its mean, in the order of time."""
    pairs: tuple[tuple[str, float, float], ...]
    """Each recorded pair, with the sum of its parts and what it was worth."""

    @classmethod
    def of(cls, landscape: Landscape, heats: Sequence[Heat], start: str) -> Recording:
        source = bare(plan.base(start))
        mine = landscape.select(start)
        alike = [one for one in mine if one.origin in ("constant", "null")]
        scored = [one for one in alike if len(one.differences) > 1]
        noise = [
            (d - fmean(one.differences))
            * math.sqrt(len(one.differences) / (len(one.differences) - 1))
            for one in scored
            for d in one.differences
        ]
        spread = math.sqrt(fmean(d * d for d in noise))
        means = {one.name: one.mean for one in mine}
        pairs = []
        for one in mine:
            parts = [means.get(name) for name in one.parts]
            if one.origin == "pair" and one.mean is not None and None not in parts:
                total = sum(mean for mean in parts if mean is not None)
                pairs.append((one.name, total, one.mean, len(one.differences)))
        excess = [(m - s) ** 2 - 3 * spread**2 / n for _, s, m, n in pairs]
        base = [h["base"]["val_bpb"] for h in heats if h["start"] == start]
        return cls(
            source,
            Model.fit(read(source, mine, spread)),
            math.sqrt(max(0.0, fmean(excess))) if excess else 0.0,
            tuple(noise),
            tuple(score - fmean(base) for score in base),
            tuple((name, s, m) for name, s, m, _ in pairs),
        )

    @property
    def noise(self) -> float:
        """SD of one heat's difference, bits per byte."""
        return math.sqrt(fmean(d * d for d in self.differences))

    @property
    def score_noise(self) -> float:
        return stdev(self.scores)

    def draw(self, seed: int) -> Surface:
        return Surface.draw(self, np.random.default_rng([31, seed]))

    @cached_property
    def _roots(self) -> dict[str, tuple[Array, Array, list[tuple[Array, Array]]]]:
        """By constant: places of its curve, shares of amplitudes, and each one's mean and root."""
        found = {}
        for one in self.model.readings:
            at = places_of(one.axis)
            parts = []
            for amplitude in AMPLITUDES:
                mean, covariance = self.model.conditional(one, at, float(amplitude))
                values, vectors = np.linalg.eigh(covariance)
                parts.append((mean, vectors * np.sqrt(np.maximum(values, 0.0))))
            found[one.axis.name] = (at, self.model.shares(one), parts)
        return found


def places_of(axis: Axis) -> Array:
    return np.linspace(0, 1, PLACES) if axis.is_ordered else np.arange(1.0 + len(axis.others))


def bare(source: str) -> str:
    """Banners and constants only, without choices of SEQ_LEN beyond the preset's bound."""
    most, lines = find_preset(plan.PRESET).max_seq_len, source.split("\n")
    for one in constants(source):
        if one.name == "SEQ_LEN" and isinstance(one.domain, Choice):
            old = " ".join(map(str, one.domain.options))
            new = " ".join(str(option) for option in one.domain.options if option <= most)
            lines[one.line - 1] = lines[one.line - 1].replace(old, new)
    stated = {one.line for one in constants(source) if one.domain is not None}
    kept = (n in stated or line.startswith("# ===") for n, line in enumerate(lines, 1))
    return "\n".join(line for line, is_kept in zip(lines, kept, strict=True) if is_kept) + "\n"


def axes_of(source: str) -> list[Axis]:
    """All constants that state a range or a choice, in the order of the sections."""
    sections = dict.fromkeys(one.section for one in constants(source))
    return [axis for section in sections for axis in tunable(source, section)]


def read(source: str, edits: Sequence[RecordedEdit], spread: float) -> list[Readings]:
    """What is recorded of each constant; of those never recorded nothing but the usual is known."""
    found = []
    for axis in axes_of(source):
        own = [
            one for one in edits if one.origin == "constant" and one.title.split()[0] == axis.name
        ]
        valued = [(axis.place(_value(one)), one) for one in own if _is_legal(axis, _value(one))]
        scored = [(place, one) for place, one in valued if one.mean is not None]
        found.append(
            Readings(
                axis,
                np.array([place for place, _ in scored], float),
                np.array([one.mean for _, one in scored], float),
                np.array([spread / math.sqrt(len(one.differences)) for _, one in scored], float),
                tuple(place for place, one in valued if any(h.status != OK for h in one.heats)),
                tuple(one.name for _, one in scored),
            )
        )
    return found


def _value(edit: RecordedEdit) -> Any:
    word = edit.name.rsplit(" ", 1)[1]
    try:
        return float(word)
    except ValueError:
        return word


def _is_legal(axis: Axis, value: Any) -> bool:
    return axis.is_ordered or value in axis.others


@dataclass(frozen=True)
class Surface:
    """One draw of what values of constants are worth."""

    axes: Mapping[str, Axis]
    curves: Mapping[str, tuple[Array, Array]]
    """By constant: places and gains, bits per byte."""
    limits: Mapping[str, tuple[float, float]]
    """By constant: the places between which it is not refused."""
    interactions: Mapping[frozenset[str], float]
    _cache: dict[tuple[str, Any], tuple[float, float]]

    @classmethod
    def draw(cls, recording: Recording, dice: np.random.Generator) -> Surface:
        axes, curves, limits = {}, {}, {}
        for one in recording.model.readings:
            name = one.axis.name
            at, shares, parts = recording._roots[name]
            mean, root = parts[int(dice.choice(len(shares), p=shares))]
            curve = mean + root @ dice.standard_normal(root.shape[1])
            if one.axis.is_ordered:
                curve = curve - np.interp(one.axis.place(one.axis.champion), at, curve)
            else:
                curve[0] = 0.0
            axes[name], curves[name], limits[name] = one.axis, (at, curve), _limits(one)
        names = list(axes)
        interactions = {
            frozenset((a, b)): float(recording.interaction * dice.standard_normal())
            for i, a in enumerate(names)
            for b in names[:i]
        }
        return cls(axes, curves, limits, interactions, {})

    def gain(self, point: Mapping[str, Any]) -> float | None:
        """Worth of these values over the start's, the others left as they are; None if refused."""
        total, moved = 0.0, []
        for name, value in point.items():
            if (name, value) not in self._cache:
                self._cache[name, value] = self._one(name, value)
            effect, push = self._cache[name, value]
            if math.isnan(effect):
                return None
            total += effect
            if push:
                moved.append((name, push))
        for i, (a, first) in enumerate(moved):
            for b, second in moved[:i]:
                total += first * second * self.interactions[frozenset((a, b))]
        return total

    def _one(self, name: str, value: Any) -> tuple[float, float]:
        """A value's own effect, NaN if it is refused, and how far it pushes interactions."""
        axis = self.axes[name]
        if not axis.is_ordered:
            place = float((axis.champion, *axis.others).index(value))
            return float(self.curves[name][1][int(place)]), float(value != axis.champion)
        place, (low, high) = axis.place(value), self.limits[name]
        if not low <= place <= high:
            return math.nan, 0.0
        push = max(-1.0, min(1.0, (place - axis.place(axis.champion)) / FAR))
        return float(np.interp(place, *self.curves[name])), push


def _limits(one: Readings) -> tuple[float, float]:
    """Halfway between what was scored and what was refused."""
    here = one.axis.place(one.axis.champion) if one.axis.is_ordered else 0.0
    fine = [here, *one.places.tolist()]
    above = [p for p in one.failed if p > here]
    below = [p for p in one.failed if p < here]
    high = (min(above) + max(fine)) / 2 if above else 1.0
    low = (max(below) + min(fine)) / 2 if below else 0.0
    return low, high


def held_out(recording: Recording) -> dict[str, Any]:
    """Leave one recorded edit out and predict it: how far the surface can be believed.

    Lengths and bend are those of all edits; the constant's own curve does without the edit. The
    error of a mean of two or three heats is in what is told; ``noise`` says how much that is.
    """
    model, told = recording.model, []
    for one in model.readings:
        for i in range(len(one.places)):
            mean, covariance = model.predict(one.without(i), one.places[[i]])
            sd = math.sqrt(covariance[0, 0] + one.errors[i] ** 2)
            told.append((float(mean[0]), sd, float(one.means[i]), float(one.errors[i])))
    mean, sd, truth, error = np.array(told).T
    sums = np.array([s for _, s, _ in recording.pairs])
    pairs = np.array([m for _, _, m in recording.pairs])
    return {
        "edits": len(told),
        "rms_error": _rms(truth - mean),
        "rms_error_of_nothing": _rms(truth),
        "rms_of_noise": _rms(error),
        "correlation": round(float(np.corrcoef(mean, truth)[0, 1]), 3),
        "within_95": round(float(np.mean(np.abs(truth - mean) < 1.96 * sd)), 3),
        "pairs": len(pairs),
        "pairs_rms_error_of_sum": _rms(pairs - sums) if len(pairs) else None,
        "pairs_rms_error_of_nothing": _rms(pairs) if len(pairs) else None,
        "interaction_sd": round(recording.interaction, 5),
        "length": model.length,
        "bend": model.bend,
        "amplitude": round(model.amplitude, 4),
        "noise_of_a_difference": round(recording.noise, 5),
        "noise_of_a_score": round(recording.score_noise, 5),
    }


def _rms(values: Array) -> float:
    return round(float(np.sqrt(np.mean(values**2))), 5)


def noise_of(recording: Recording, dice: random.Random) -> float:
    """The noise of one heat's difference; of either sign, since no side is special."""
    return dice.choice((-1.0, 1.0)) * dice.choice(recording.differences)
