"""What a person sees while a campaign runs: one line per trial, then the current activity."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.report.display import Display
from agent.report.plain import PlainDisplay
from agent.report.stream import Unbreakable
from agent.report.text import clock, interval, percents, prior_line, role, signed
from trainer.untrusted import one_line

WIDE = 150
"""From this many columns on, the verdict is on the trial's own line."""
INDENT = 5
GAP = 2
WORDS_WIDTH = 64
REFRESHES_PER_SECOND = 4
_STYLES = {
    "kept": "green",
    "reverted": "dim",
    "failed": "dim",
    "rejected": "yellow",
    "null": "dim",
    "open": "",
}


def make_display(stream: TextIO | None = None, force_plain: bool = False) -> Display:
    """A live display where ``stream`` (default: stdout) is a terminal that can show it."""
    stream = stream if stream is not None else sys.stdout
    console = Console(file=stream, highlight=False)
    can_show = console.is_terminal and not console.is_dumb_terminal
    if force_plain or not can_show or not console.encoding.startswith("utf"):
        return PlainDisplay(stream)
    return RichDisplay(console)


@dataclass(frozen=True)
class _Now:
    """What is being done at this moment."""

    trial: Trial | None = None
    who: str = ""
    doing: str = "starting"
    share: float | None = None
    """Finished share of the current activity, in [0, 1]; None if unknown."""
    budget: str = ""
    is_training: bool = False
    """Whether ``share`` is a share of the budget."""
    since: float = field(default_factory=time.monotonic)

    def after(self, event: Mapping[str, Any]) -> _Now:
        """The activity after a measurement has reported ``event``."""
        kind = event.get("event")
        if kind == "preparing":
            stage = one_line(event["stage"], 40)
            return replace(self, doing=stage, share=event["fraction"], is_training=False)
        if kind == "ready":
            return replace(self, doing="training", share=0.0, is_training=True)
        if kind == "log":
            side = ("champion", "candidate")[event["training"]] if "training" in event else ""
            doing = f"{side}  step {event['step']}  loss {event['loss']:.3f}".strip()
            return replace(self, doing=doing, share=event.get("spent"))
        if kind == "waiting":
            return replace(self, doing=f"waiting, {event['seconds']} s left", share=None)
        if kind == "scoring":
            return replace(self, doing="scoring", share=event["fraction"], is_training=False)
        return self


class _LivePart:
    """The lines at the bottom, drawn anew from ``now`` at every refresh."""

    def __init__(self, now: _Now) -> None:
        self.now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now, narrow = self.now, options.max_width < 100
        if now.trial is not None:
            yield _running(now.trial)
        bar = ProgressBar(
            total=1.0 if now.share is not None else None,
            completed=min(1.0, max(0.0, now.share or 0.0)),
            width=12 if narrow else 24,
            pulse=now.share is None,
        )
        share = f"{now.share:.0%}" if now.share is not None else ""
        if now.is_training and share and now.budget and not narrow:
            share += f" of {now.budget}"
        parts = [
            Text(part, no_wrap=True, overflow="ellipsis")
            for part in (share, now.doing, clock(time.monotonic() - now.since))
            if part
        ]
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(*([Text(now.who, style="cyan", no_wrap=True)] if now.who else []), bar, *parts)
        yield Padding(line, (0, 0, 0, INDENT))
        if now.trial is not None and now.trial.differences:
            yield Padding(Text(_so_far(now.trial), style="dim", no_wrap=True), (0, 0, 0, INDENT))


class RichDisplay:
    """For a terminal. Markup in titles and reasons is plain text; a lost terminal stops nothing."""

    def __init__(self, console: Console) -> None:
        console.file = cast(TextIO, Unbreakable(cast(TextIO, console.file)))
        self._console = console
        self._live: Live | None = None
        self._part = _LivePart(_Now())
        self._shares: dict[str, int] = {}
        self._has_columns = False

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in lines:
            table.add_row(Text(one_line(label)), Text(one_line(text, 1000)))
        self._console.print(table)

    def proposing(self, trial: Trial) -> None:
        doing = f"proposing in {one_line(trial.category, 40)}"
        self._show(_Now(trial, doing=doing))

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        self._show(_Now(trial, who=role(trial, training), budget=one_line(budget, 40)))

    def heat(self, trial: Trial, number: int, budget: str) -> None:
        self._show(_Now(trial, who=f"heat {number + 1}", budget=one_line(budget, 40)))

    def heat_over(self, trial: Trial, heat: Heat) -> None:
        self._hide()

    def event(self, event: Mapping[str, Any]) -> None:
        now = self._part.now if self._live is not None else _Now()
        self._show(now.after(event))

    def trained(self, training: Training) -> None:
        self._hide()

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        self._hide()
        width = self._console.width
        if not self._has_columns:
            self._has_columns = True
            self._console.print(_heading(width))
        self._console.print(_row(trial, width))
        shares = percents(prior)
        if shares and shares != self._shares:
            line = prior_line(shares, self._shares, width - INDENT)
            text = Text(line, style="dim", no_wrap=True, overflow="ellipsis")
            text.highlight_regex("▲", "green")
            text.highlight_regex("▼", "red")
            self._console.print(Padding(text, (0, 0, 0, INDENT)))
        self._shares = shares

    def message(self, text: str) -> None:
        self._console.print(Text(one_line(text, 1000), style="yellow"))

    def close(self) -> None:
        self._hide()

    def _show(self, now: _Now) -> None:
        self._part.now = now
        if self._live is None:
            self._live = Live(
                self._part,
                console=self._console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()

    def _hide(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _grid(width: int) -> Table:
    """A trial's columns: number, category, title, val_bpb, gain and, if wide, time and verdict."""
    is_wide = width >= WIDE
    taken = 3 + 15 + 15 + 7 + 4 * GAP + (6 + WORDS_WIDTH + 2 * GAP if is_wide else 0)
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=3, justify="right", no_wrap=True)
    grid.add_column(width=15, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=max(8, min(60, width - taken)), no_wrap=True, overflow="ellipsis")
    grid.add_column(width=15, no_wrap=True)
    grid.add_column(width=7, justify="right", no_wrap=True)
    if is_wide:
        grid.add_column(width=6, justify="right", no_wrap=True)
        grid.add_column(overflow="fold")
    return grid


def _heading(width: int) -> Table:
    grid = _grid(width)
    names = ("#", "category", "what", "val_bpb", "gain", "time", "verdict")
    grid.add_row(*(Text(name, style="dim") for name in names[: len(grid.columns)]))
    return grid


def _row(trial: Trial, width: int) -> RenderableType:
    """A finished trial: one line if wide, else the verdict and the time on a second one."""
    grid, end = _grid(width), trial.outcome
    style = _STYLES[end]
    quiet = "dim" if end in ("reverted", "failed", "null") else ""
    score = interval(trial.val_bpb, trial.val_bpb_half) or one_line(trial.status, 15)
    words, spent = Text(one_line(trial.words), style=style), clock(trial.seconds)
    cells = [
        Text(str(trial.trial), style="dim"),
        Text(one_line(trial.category, 40), style=quiet),
        Text(one_line(trial.title), style=quiet),
        Text(score or "not trained", style="red" if end == "failed" else quiet),
        Text(signed(trial.gain), style=style),
    ]
    if width >= WIDE:
        grid.add_row(*cells, Text(spent, style="dim"), words)
        return grid
    grid.add_row(*cells)
    return Group(grid, Padding(words.append(f"  {spent}", style="dim"), (0, 0, 0, INDENT)))


def _running(trial: Trial) -> Text:
    """A trial that has no verdict yet."""
    text = Text(f"{trial.trial:>3}  ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(f"{one_line(trial.category, 40):<15}", style="not dim")
    return text.append(f"  {one_line(trial.title)}", style="not dim")


def _so_far(trial: Trial) -> str:
    return f"differences so far: {' '.join(signed(d) for d in trial.differences)}"


__all__ = ["PlainDisplay", "RichDisplay", "make_display"]
