"""The constants of train.py that state a range or a choice, as axes of a search."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.edits.constants import Choice, Range, constants

Point = Mapping[str, Any]
"""Values of constants by name."""

MIN_STEP = 0.02
"""Share of a range; a smaller step could hardly be distinguished from no step."""
STEPS = 48
"""Steps of a range's grid, a little over ``MIN_STEP`` each."""
LISTED = 500
"""Most whole numbers that a range may have to be proposed all."""


@dataclass(frozen=True)
class Axis:
    """One constant, and the other values that it may take."""

    name: str
    champion: Any
    domain: Range | Choice
    meaning: str
    """The constant's comment without the domain."""

    @functools.cached_property
    def others(self) -> tuple[Any, ...]:
        """All other values, in order if there is one; of a long range those of a grid that are far
        enough from the champion to show an effect."""
        if isinstance(self.domain, Choice):
            options = self.domain.options
            found = sorted(set(options)) if self.is_ordered else options
            return tuple(value for value in found if value != self.champion)
        low, high, steps = self.domain.low, self.domain.high, STEPS
        if self.domain.integer and high - low < LISTED:
            whole = range(math.ceil(low), math.floor(high) + 1)
            return tuple(value for value in whole if value != self.champion)
        # Rounded by up to half a step, so that no round number falls between two places.
        grid = {_short(self.domain, i / steps, 0.5001 / steps) for i in range(steps + 1)}
        if self.domain.integer:  # sizes are often powers of two
            grid |= {2**k for k in range(int(high).bit_length()) if low <= 2**k <= high}
        here, least = self.place(self.champion), MIN_STEP
        return tuple(sorted(value for value in grid if abs(self.place(value) - here) >= least))

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

    def place_in(self, point: Point) -> float:
        """Position of the value that a point gives it: the champion's if that is none, -1 of a word
        that is no option any more."""
        value = point.get(self.name, self.champion)
        if not self.is_ordered:
            return self.place(value) if value in (self.champion, *self.others) else -1.0
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.place(value if is_number else self.champion)

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


def _short(domain: Range, place: float, rounding: float) -> float:
    """The value at a position of a range, with as few digits as a shift of ``rounding`` allows."""
    number, most = (round, 15) if domain.integer else (float, 4)
    x = number(domain.value(place))
    for digits in range(1, most + 1):
        short = float(f"{x:.{digits}g}")
        if domain.low <= short <= domain.high and abs(domain.place(short) - place) <= rounding:
            return number(short)
    return number(min(domain.high, max(domain.low, float(f"{x:.{most}g}"))))


@functools.lru_cache(maxsize=256)  # asked for every section of every trial, of few champions
def tunable(source: str, category: str) -> tuple[Axis, ...]:
    """Constants of the section whose domain has at least one other value."""
    axes = [
        Axis(c.name, c.value, c.domain, re.sub(r"\W*\b(range|choice)\b.*$", "", c.comment))
        for c in constants(source)
        if c.section == category.lower() and c.domain is not None
    ]
    return tuple(axis for axis in axes if axis.others)
