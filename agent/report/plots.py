"""progress.png, a card to share: every trial of a campaign, the champion as a step line, below them
the three largest keeps, the verified gain and the command that repeats it."""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from agent.campaign.chain import chain
from agent.campaign.evidence import peaks_mb
from agent.campaign.files import write_atomically
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.judge import Estimate
from agent.objective import GB, Objective
from agent.report.summary import cost_name, preset_of, repeat_command, standing, summed_words
from agent.report.text import plural, signed
from agent.report.view import Verified, view
from trainer.untrusted import one_line

STYLE = Path(__file__).with_name("progress.mplstyle")
GREEN, DARK_GREEN, GREY, RED, AMBER = "#1a9850", "#136b39", "#8a8f98", "#c8443c", "#d9961a"
SPREADS = 3.0
"""A trial is on the scale up to this many typical distances above the worst champion."""
TARGET_SHOWN = 0.9
"""A target above this share of the lowest cost is on the scale."""
LABEL_LENGTH, LABEL_DEGREES, MAX_LABELS = 38, 20, 16
CAPTION = -0.175
"""Where a caption stands below the axes, as a share of their height."""
CARD, KEEPS = 0.33, 3
"""Share of the picture below the chart, and keeps that are named there."""


@dataclass(frozen=True)
class Point:
    """A trial on the chart, with its val_bpb on the chain of champions."""

    trial: Trial
    bpb: Estimate
    x: int
    """Its place among the verdicts, the baseline's 0: the number of the trial, where these were
    under way one after the other."""


def progress_png(path: Path, state: State) -> None:
    """Draw the campaign's finished trials: x trials in the order of their verdicts, y val_bpb, or
    the objective's cost.

    Kept trials have a title and a 95 % interval. The champions and most of the trials set the
    scale; trials far above it are marked at the upper edge and counted in the caption. Below the
    chart stands what a reader asks next: see ``_card``.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    points = points_of(state)
    with _figure(path) as figure:
        axes = figure.add_subplot()
        if points:
            figure.subplots_adjust(bottom=CARD)
            _draw(axes, state, points)
            _card(figure, state)
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "nothing is measured yet", ha="center", color=GREY, fontsize=14)


@contextlib.contextmanager
def _figure(path: Path) -> Iterator[Figure]:
    """A figure that is written to ``path`` when it is drawn."""
    with warnings.catch_warnings(), matplotlib.rc_context(fname=STYLE):
        # A title may hold characters that the font lacks; a box is drawn for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        picture, figure = io.BytesIO(), Figure()
        yield figure
        figure.savefig(picture)
    write_atomically(path, picture.getvalue())


def points_of(state: State) -> list[Point]:
    """What has a place on the chart, first the baseline; null trials have none."""
    values = chain(state, preset_of(state))
    places = _places(state)
    return [Point(state.trials[number], bpb, places[number]) for number, bpb in values.items()]


def _places(state: State) -> dict[int, int]:
    """By trial: its place among the verdicts."""
    return {number: place for place, number in enumerate(state.ended)}


def _title(state: State) -> str:
    counts, now = state.counts, standing(state)
    title = f"{plural(sum(counts.values()), 'trial')}, {counts['keep']} kept"
    if now.gain and now.baseline and now.best:
        title += f": {cost_name(state)} {now.baseline.mean:.4f} → {now.best.mean:.4f}"
    return title


def scale(points: Sequence[Point]) -> tuple[float, float]:
    """Lowest and highest val_bpb to show: all champions with their intervals, and near trials.

    Near is up to ``SPREADS`` typical distances from the worst champion. The typical distance is the
    median of the trials' distances from the champion that they were judged against and of the
    champions' own half-widths, so that a few outliers do not set the scale.
    """
    usual, champion = [], points[0].bpb.mean
    for point in points:
        if point.trial.kept:
            champion = point.bpb.mean
            usual.append(point.bpb.half)
        else:
            usual.append(abs(point.bpb.mean - champion))
    kept = [point.bpb for point in points if point.trial.kept]
    values = [point.bpb.mean for point in points]
    low = min(values + [bpb.mean - bpb.half for bpb in kept])
    worst = max(bpb.mean + bpb.half for bpb in kept)
    reach = max(SPREADS * median_low(usual), (worst - low) / 2)
    return low, max([worst] + [value for value in values if value <= worst + reach])


def _draw(axes: Axes, state: State, points: Sequence[Point]) -> None:
    low, high = scale(points)
    places, last = _places(state), len(state.ended) - 1
    span = max(high - low, 1e-4)
    kept = [point for point in points if point.trial.kept]
    axes.set_ylim(low - (0.4 if len(kept) > 1 else 0.15) * span, high + 0.35 * span)
    _bounds(axes, state, points)
    axes.set_xlim(-0.02 * last - 0.2, max(1.03 * last + 0.5, 4.0))
    ylabel = f"{cost_name(state)}, bits per byte (lower is better)"
    in_order = state.ended == sorted(state.ended)
    axes.set(xlabel="trial" if in_order else "trials, as they ended", ylabel=ylabel)
    words = "\n".join(textwrap.wrap(summed_words(state.objectives), 75))
    axes.text(0, CAPTION, words, color=GREY, va="bottom", transform=axes.transAxes, size="small")
    axes.set_title(_title(state))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _champions(axes, kept, last)
    _labels(axes, kept)
    far = [point for point in points if point.bpb.mean > high]
    near = [p for p in points if p.trial.outcome == "reverted" and p not in far]
    if near or far:
        xs, ys = [point.x for point in near], [point.bpb.mean for point in near]
        label = f"{len(near) + len(far)} reverted"
        axes.scatter(xs, ys, s=30, color=GREY, alpha=0.45, lw=0, label=label, zorder=2)
    _marks(axes, [point.x for point in far], 0.985, "^", GREY, None)
    for kind, colour in (("failed", RED), ("rejected", AMBER)):
        there = [places[trial.trial] for trial in state.real if trial.outcome == kind]
        _marks(axes, there, 0.02, "|", colour, f"{len(there)} {kind}")
    caption = "bars: 95 % interval; champions are chained by their gains, not by scores hours apart"
    caption += f"; {plural(len(far), 'trial')} off the scale (▲)" if far else ""
    axes.text(1, CAPTION, caption, color=GREY, ha="right", transform=axes.transAxes)
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=4)


def _bounds(axes: Axes, state: State, points: Sequence[Point]) -> None:
    """The target, as a line in the cost; the limit, as one in the memory, at the right."""
    objective = Objective.of(state.objective)
    if objective.target is not None:
        low, high = axes.get_ylim()
        if objective.target > TARGET_SHOWN * low:
            axes.set_ylim(min(low, objective.target - 0.1 * (high - objective.target)), high)
        label = f"target {objective.target:g}"
        axes.axhline(objective.target, color=AMBER, ls="--", lw=1.2, label=label, zorder=1)
    if objective.memory_limit is None:
        return
    taken = {p: max(peaks_mb(state, p.trial), default=0.0) / GB for p in points}
    over = [point for point, size in taken.items() if size > objective.memory_limit]
    xs, ys = [point.x for point in over], [point.bpb.mean for point in over]
    label = f"{len(over)} above {objective.memory_limit:g} GB"
    axes.scatter(xs, ys, s=150, facecolor="none", edgecolor=RED, label=label, zorder=5)
    memory = axes.twinx()
    memory.set_ylim(0, 2 * max(objective.memory_limit, *taken.values()))
    memory.axis("off")
    memory.axhline(objective.memory_limit, color=AMBER, ls="--", lw=1.2)
    memory.plot([p.x for p in taken], [*taken.values()], "x", color=AMBER, ms=5)
    label = f"limit {objective.memory_limit:g} GB, × peak memory"
    place = (1, objective.memory_limit), (-4, 3)
    across = memory.get_yaxis_transform()
    memory.annotate(
        label, *place, across, "offset points", ha="right", color=AMBER, fontsize="small"
    )


def _card(figure: Figure, state: State) -> None:
    """The keeps with the largest claimed gains, what is verified, how to do it again."""
    left, right, end, top, step = 0.07, 0.555, 0.985, 0.2, 0.045
    found = view(state, str(state.settings.get("tag", "")), {}).found
    keeps = sorted(found.keeps, key=lambda keep: -(keep.gain.mean if keep.gain else 0.0))
    heading = f"the {KEEPS} largest of {len(keeps)} keeps" if keeps[KEEPS:] else "kept"
    heading = f"{heading}, as claimed" if keeps else "nothing is kept yet"
    _write(figure, left, top, right, heading, color=GREY)
    for n, keep in enumerate(keeps[:KEEPS], 1):
        line = f"{signed(keep.gain.mean if keep.gain else None)}  {keep.title}"
        _write(figure, left, top - n * step, right, line, color=DARK_GREEN, fontsize=10.5)
    verified, told = found.verified, ("not verified yet", found.verified_words)
    is_real = verified is not None and verified.is_of_champion and verified.gain.is_sure
    if verified is not None:
        told = f"verified {verified.gain.words}", _of_what(verified)
    _write(figure, right, top, end, "gain in bits per byte of sealed text", color=GREY)
    look = {"color": GREEN if is_real else GREY, "weight": "bold"}
    _write(figure, right, top - step, end, told[0], fontsize=14, **look)
    words = told[1].removeprefix(f"{told[0]}: ")
    _write(figure, right, top - 2 * step, end, words, color=GREY, fontsize=9.5)
    base = str(state.settings.get("base", ""))[:7]
    line = f"repeat it{f' at commit {base}' if base else ''}: {repeat_command(state)}"
    _write(figure, left, 0.022, end, line, family="monospace")


def _write(figure: Figure, x: float, y: float, end: float, words: str, **look: Any) -> None:
    """A line from ``x`` on that ends before ``end``, shares of the figure's width."""
    label, room = figure.text(x, y, words, **look), (end - x - 0.01) * figure.bbox.width
    while (width := label.get_window_extent().width) > room and len(words) > 1:
        words = words[: min(len(words) - 1, int(len(words) * room / width))].rstrip()
        label.set_text(f"{words}…")


def _of_what(verified: Verified) -> str:
    told = f"over {plural(verified.seeds, 'fresh seed')}"
    is_old = not verified.is_of_champion
    return f"{told}, of trial {verified.trial}: the champion is another now" if is_old else told


def _marks(
    axes: Axes, xs: Sequence[int], height: float, sign: str, colour: str, label: str | None
) -> None:
    """Mark trials that are not on the scale; ``height`` is a fraction of the axes' height."""
    if xs:
        ys, across = [height] * len(xs), axes.get_xaxis_transform()
        axes.plot(xs, ys, sign, color=colour, alpha=0.8, transform=across, label=label)


def _champions(axes: Axes, kept: Sequence[Point], last: int) -> None:
    xs, ys = [point.x for point in kept], [point.bpb.mean for point in kept]
    halves, count = [point.bpb.half for point in kept], sum(point.x > 0 for point in kept)
    steps = [*xs, last + 0.5], [*ys, ys[-1]]
    axes.step(*steps, where="post", color=GREEN, lw=2, alpha=0.75, zorder=3)
    axes.errorbar(xs, ys, halves, fmt="none", ecolor=GREEN, elinewidth=1.2, alpha=0.65, zorder=3)
    label = f"{count} kept" if count else "baseline"
    axes.scatter(xs, ys, s=62, color=GREEN, edgecolor="white", lw=1.2, label=label, zorder=4)


def _labels(axes: Axes, kept: Sequence[Point]) -> None:
    """Titles beside kept trials; if two would overlap, the trial with the smaller gain has none.

    A title runs up and to the right from its point. If it would leave the picture, it runs up to
    the point from below instead; that area is free, since earlier champions have higher scores.
    """
    inch = matplotlib.rcParams["figure.dpi"]
    cos, sin = math.cos(math.radians(LABEL_DEGREES)), math.sin(math.radians(LABEL_DEGREES))
    taken: list[tuple[float, float, float]] = []
    # The newest champion and the baseline first: they show the current state and the start.
    ranked = sorted(kept[1:-1], key=lambda point: -(point.trial.gain or 0.0))
    for point in [kept[-1], *kept[: len(kept) > 1], *ranked]:
        title = one_line(point.trial.title, LABEL_LENGTH) if point.x > 0 else "baseline"
        place = (point.x, point.bpb.mean)
        x, y = axes.transData.transform(place)
        across, along, length = y * cos - x * sin, x * cos + y * sin, len(title) * 0.075 * inch
        ahead = x + length * cos < axes.bbox.x1
        start, end = (along, along + length) if ahead else (along - length, along)
        hides = (abs(across - a) < 0.17 * inch and start < e and s < end for a, s, e in taken)
        if len(taken) == MAX_LABELS or any(hides):
            continue
        taken.append((across, start, end))
        beside = (5, 7) if ahead else (-3, -7)
        label = axes.annotate(title, place, beside, textcoords="offset points")
        label.set(rotation=LABEL_DEGREES, rotation_mode="anchor", color=DARK_GREEN, zorder=5)
        label.set(ha="left" if ahead else "right", va="baseline" if ahead else "top")
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def harvest_png(path: Path, keeps: Sequence[Mapping[str, Any]]) -> None:
    """Draw, for each kept change, its gain alone and what the champion loses without it.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    kinds = ("alone", GREY, "alone on the base"), ("left_out", GREEN, "lost without it")
    with _figure(path) as figure:
        figure.set_size_inches(figure.get_figwidth(), 1.6 + 0.5 * len(keeps))
        figure.set_layout_engine("tight")
        axes = figure.add_subplot()
        axes.axvline(0.0, color=RED, lw=1)
        for shift, (kind, colour, label) in zip((-0.12, 0.12), kinds, strict=True):
            rows = [(n + shift, keep[kind]) for n, keep in enumerate(keeps) if keep[kind]]
            xs, ys = [one["mean"] for _, one in rows], [y for y, _ in rows]
            halves = [one["high"] - one["mean"] for _, one in rows]
            axes.errorbar(xs, ys, xerr=halves, fmt="o", color=colour, capsize=3, label=label)
        claimed = [keep["gain"] or 0.0 for keep in keeps]
        axes.plot(claimed, range(len(keeps)), "|", color=AMBER, ms=16, label="claimed")
        titles = [f"{keep['trial']}  {one_line(keep['title'], LABEL_LENGTH)}" for keep in keeps]
        axes.set_yticks(range(len(keeps)), titles)
        axes.set(ylim=(len(keeps) - 0.5, -0.5), xlabel="gain, bits per byte (higher is better)")
        axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=3)
