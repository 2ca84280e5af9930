"""The picture: gains against device time, a colour an arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.search.arms import ARMS
from benchmarks.search.table import Row, distance_of, longest, verified_course

STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "search", "font.size": 9.0}
"""Text as text: a small file, the same bytes each time."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Verified gains as points on a line, claimed ones as thin steps, a campaign each."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for number, arm in enumerate(ARMS):
            own = [row for row in rows if row["arm"] == arm and row["course"]]
            colour, label = f"C{number}", arm
            for row in longest(own):
                minutes, gains = zip(*((s / 60, g) for s, g in verified_course(row)), strict=True)
                axes.plot(minutes, gains, "o-", color=colour, label=label, ms=3, lw=1.4)
                rest = [minutes[-1], row["course"][-1]["seconds"] / 60]  # nothing better came
                axes.plot(rest, [gains[-1]] * 2, color=colour, lw=1.4)
                label = ""  # once
                course = [(step["seconds"] / 60, step["claimed"]) for step in row["course"]]
                axes.step(*zip(*course, strict=True), where="post", color=colour, lw=0.6, alpha=0.5)
        if distance := distance_of(rows):
            axes.axhline(distance["mean"], color="0.6", lw=0.8, ls="--")
            axes.annotate(
                "the shipped train.py",
                (0, distance["mean"]),
                (0, 3),
                textcoords="offset points",
                fontsize=8,
                color="0.4",
            )
        axes.set(xlabel="device time, minutes", ylabel="gain over the plain start, bits per byte")
        axes.set_title("verified (points) and claimed (thin lines)", fontsize=9, loc="left")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        figure.savefig(path, metadata={"Date": None})
