"""progress.png: every trial of a campaign, and the champion as a step line."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from agent.campaign.chain import chain
from agent.campaign.files import write_atomically
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.judge import Estimate
from agent.report.summary import preset_of, standing
from agent.report.text import plural
from trainer.untrusted import one_line

INCHES = (12.0, 6.0)
DPI = 200
"""2400 x 1200 pixels; the layout is made to be shown at half that size."""
GREEN, GREY, RED, AMBER, INK = "#1a9850", "#8a8f98", "#c8443c", "#d9961a", "#24292f"
SPREADS = 3.0
"""A trial is on the scale up to this many typical distances above the worst champion."""
LABEL_LENGTH = 44
LABEL_DEGREES = 28
MAX_LABELS = 16


@dataclass(frozen=True)
class Point:
    """A trial on the chart, with its val_bpb on the chain of champions."""

    trial: Trial
    bpb: Estimate

    @property
    def x(self) -> int:
        return self.trial.trial


def progress_png(path: Path, state: State) -> None:
    """Draw the campaign's finished trials: x trial number, y val_bpb in bits per byte.

    Kept trials have a title and a 95 % interval. The champions and most of the trials set the
    scale; trials far above it are marked at the upper edge and counted in the caption.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    figure = Figure(figsize=INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.07, 0.115, 0.915, 0.775))
    _style(axes)
    points = points_of(state)
    if points:
        _draw(figure, axes, state.real, points)
        figure.text(0.07, 0.93, _title(state), fontsize=14, color=INK, weight="bold")
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing is measured yet", ha="center", color=GREY, fontsize=14)
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A title may hold characters that the font lacks; a box is drawn for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=DPI)
    write_atomically(path, picture.getvalue())


def points_of(state: State) -> list[Point]:
    """What has a place on the chart; null trials have none."""
    values = chain(state, preset_of(state))
    return [Point(trial, values[trial.trial]) for trial in state.real if trial.trial in values]


def _title(state: State) -> str:
    counts, now = state.counts, standing(state)
    title = f"{plural(sum(counts.values()), 'trial')}, {counts['keep']} kept"
    if now.gain is None or now.baseline is None or now.best is None:
        return title
    return f"{title}: val_bpb {now.baseline.mean:.4f} → {now.best.mean:.4f}"


def scale(points: Sequence[Point]) -> tuple[float, float]:
    """Lowest and highest val_bpb to show: all champions with their intervals, and near trials.

    Near is up to ``SPREADS`` typical distances from the worst champion. The typical distance is the
    median of the trials' distances from the champion that they were judged against and of the
    champions' own half-widths, so that a few outliers do not set the scale.
    """
    usual, champion = [], None
    for point in points:
        if point.trial.kept:
            champion = point.bpb.mean
            usual.append(point.bpb.half)
        elif champion is not None:
            usual.append(abs(point.bpb.mean - champion))
    kept = [point.bpb for point in points if point.trial.kept]
    values = [point.bpb.mean for point in points]
    low = min(values + [bpb.mean - bpb.half for bpb in kept])
    worst = max([bpb.mean + bpb.half for bpb in kept] or values)
    reach = max(SPREADS * median_low(usual or [0.0]), (worst - low) / 2)
    return low, max([worst] + [value for value in values if value <= worst + reach])


def _draw(figure: Figure, axes: Axes, trials: Sequence[Trial], points: Sequence[Point]) -> None:
    low, high = scale(points)
    span = max(high - low, 1e-4)
    kept = [point for point in points if point.trial.kept]
    axes.set_ylim(low - (0.3 if len(kept) > 1 else 0.15) * span, high + 0.25 * span)
    last = trials[-1].trial
    axes.set_xlim(-0.02 * last - 0.2, max(1.03 * last + 0.5, 4.0))
    if kept:
        _champions(axes, kept, last)
        _labels(axes, kept)
    far = [point for point in points if point.bpb.mean > high]
    reverted = [p for p in points if p.trial.outcome == "reverted" and p not in far]
    if reverted or far:
        xs, ys = [point.x for point in reverted], [point.bpb.mean for point in reverted]
        label = f"{len(reverted) + len(far)} reverted"
        axes.scatter(xs, ys, s=30, color=GREY, alpha=0.45, lw=0, label=label, zorder=2)
    _marks(axes, [point.trial for point in far], 0.985, "^", GREY, "")
    for kind, colour in (("failed", RED), ("rejected", AMBER)):
        there = [trial for trial in trials if trial.outcome == kind]
        _marks(axes, there, 0.02, "|", colour, f"{len(there)} {kind}")
    caption = "bars: 95 % interval; champions are chained by their gains, not by scores hours apart"
    caption += f"; {plural(len(far), 'trial')} off the scale (▲)" if far else ""
    figure.text(0.985, 0.02, caption, fontsize=8.5, color=GREY, ha="right")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        columnspacing=1.2,
        handletextpad=0.2,
    )


def _marks(
    axes: Axes, trials: Sequence[Trial], height: float, marker: str, colour: str, label: str
) -> None:
    """Mark trials that are not on the scale; ``height`` is a fraction of the axes' height."""
    if trials:
        axes.plot(
            [trial.trial for trial in trials],
            [height] * len(trials),
            marker,
            color=colour,
            alpha=0.8,
            ms=8,
            mew=1.6,
            transform=axes.get_xaxis_transform(),
            label=label or None,
        )


def _champions(axes: Axes, kept: Sequence[Point], last: int) -> None:
    xs, ys = [point.x for point in kept], [point.bpb.mean for point in kept]
    axes.step(
        [*xs, last + 0.5], [*ys, ys[-1]], where="post", color=GREEN, lw=2, alpha=0.75, zorder=3
    )
    halves = [point.bpb.half for point in kept]
    axes.errorbar(
        xs, ys, halves, fmt="none", ecolor=GREEN, elinewidth=1.2, capsize=3, alpha=0.65, zorder=3
    )
    count = sum(point.x > 0 for point in kept)
    label = f"{count} kept" if count else "baseline"
    axes.scatter(xs, ys, s=62, color=GREEN, edgecolor="white", lw=1.2, label=label, zorder=4)


def _labels(axes: Axes, kept: Sequence[Point]) -> None:
    """Titles beside kept trials; if two would overlap, the trial with the smaller gain has none.

    A title runs up and to the right from its point. If it would leave the picture, it runs up to
    the point from below instead; that area is free, since earlier champions have higher scores.
    """
    cos, sin = math.cos(math.radians(LABEL_DEGREES)), math.sin(math.radians(LABEL_DEGREES))
    taken: list[tuple[float, float, float]] = []
    # The newest champion and the baseline first: they show the current state and the start.
    ranked = sorted(kept[1:-1], key=lambda point: -(point.trial.gain or 0.0))
    for point in [kept[-1], *kept[: len(kept) > 1], *ranked]:
        if len(taken) == MAX_LABELS:
            break
        title = one_line(point.trial.title, LABEL_LENGTH) if point.x > 0 else "baseline"
        x, y = axes.transData.transform((point.x, point.bpb.mean))
        across, along, length = y * cos - x * sin, x * cos + y * sin, len(title) * 0.075 * DPI
        ahead = x + length * cos < axes.bbox.x1
        start, end = (along, along + length) if ahead else (along - length, along)
        if any(abs(across - a) < 0.17 * DPI and start < e and s < end for a, s, e in taken):
            continue
        taken.append((across, start, end))
        axes.annotate(
            title,
            (point.x, point.bpb.mean),
            xytext=(5, 7) if ahead else (-3, -7),
            textcoords="offset points",
            ha="left" if ahead else "right",
            va="baseline" if ahead else "top",
            rotation=LABEL_DEGREES,
            rotation_mode="anchor",
            fontsize=8.5,
            color="#136b39",
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=5,
        )


def _style(axes: Axes) -> None:
    axes.set_xlabel("trial", color=INK, fontsize=10.5)
    axes.set_ylabel("val_bpb, bits per byte (lower is better)", color=INK, fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c9ced6")
    axes.tick_params(colors=INK, labelsize=9.5, color="#c9ced6")
    axes.grid(axis="y", color="#e8eaee", lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", useOffset=False)
