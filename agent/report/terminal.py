"""What a person sees while a campaign runs: one line per trial, then the current activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.report.display import Activity, Display
from agent.report.text import clock, interval, signed
from trainer.untrusted import one_line

WIDE = 150
"""From this many columns on, the verdict is on the trial's own line."""
INDENT, GAP, WORDS_WIDTH = 5, 2, 64
_STYLES = {"kept": "green", "reverted": "dim", "failed": "dim", "rejected": "yellow", "null": "dim"}
_HEADING = ("  #", "category", "what", "val_bpb", "   gain"), ("  time", "verdict")


def make_display(stream: TextIO) -> Display:
    """A live display where ``stream`` is a terminal that can show it."""
    console = Console(file=stream, highlight=False)
    if console.is_interactive and console.encoding.startswith("utf"):
        return RichDisplay(console)
    return Display(stream)


class RichDisplay(Display):
    """For a terminal. Markup in titles and reasons is plain text; a lost terminal stops nothing."""

    def __init__(self, console: Console) -> None:
        super().__init__(cast(TextIO, console.file))
        console.file = cast(TextIO, self._stream)
        self._console = console
        self._live: Live | None = None
        self._has_columns = False

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, GAP, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in lines:
            table.add_row(Text(one_line(label)), Text(one_line(text, 1000)))
        self._console.print(table)

    def event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "note":
            return self.message(event["text"])
        self._begin(self._activity.after(event), "")

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        self._end("")
        width = self._console.width
        if not self._has_columns:
            self._has_columns = True
            cells, aside = ([Text(name, style="dim") for name in names] for names in _HEADING)
            self._console.print(_columns(width, cells, aside), no_wrap=True)
        self._console.print(_row(trial, width))
        if told := self._moved(prior, width - INDENT):
            text = Text(told, style="dim", no_wrap=True, overflow="ellipsis")
            text.highlight_regex("▲", "green")
            text.highlight_regex("▼", "red")
            self._console.print(Padding(text, (0, 0, 0, INDENT)))

    def message(self, text: str) -> None:
        self._console.print(Text(one_line(text, 1000), style="yellow"))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self, activity: Activity, words: str) -> None:
        self._activity = activity
        if self._live is None:
            self._live = Live(get_renderable=self._render, console=self._console, transient=True)
            self._live.start()

    def _end(self, words: str) -> None:
        self.close()
        self._activity = Activity(self._now())

    def _render(self) -> RenderableType:
        """The lines at the bottom, drawn anew at every refresh."""
        now, narrow = self._activity, self._console.width < 100
        share = f"{now.share:.0%}" if now.share is not None else ""
        if now.is_training and share and now.budget and not narrow:
            share += f" of {now.budget}"
        total = 1.0 if now.share is not None else None
        bar = ProgressBar(total, now.share or 0.0, width=12 if narrow else 24)
        parts = (share, now.doing, clock(self._now() - now.since))
        texts = [Text(part, no_wrap=True, overflow="ellipsis") for part in parts if part]
        line = Table.grid(padding=(0, GAP, 0, 0))
        line.add_row(*([Text(now.who, style="cyan", no_wrap=True)] if now.who else []), bar, *texts)
        lines: list[RenderableType] = [Padding(line, (0, 0, 0, INDENT))]
        if now.trial is not None:
            what = f"{one_line(now.trial.category, 40):<15}  {one_line(now.trial.title)}"
            number = (f"{now.trial.trial:>3}  ", "dim")
            lines.insert(0, Text.assemble(number, what, no_wrap=True, overflow="ellipsis"))
            if now.trial.differences:
                told = f"differences so far: {' '.join(map(signed, now.trial.differences))}"
                lines.append(Padding(Text(told, style="dim", no_wrap=True), (0, 0, 0, INDENT)))
        return Group(*lines)


def _columns(width: int, cells: Sequence[Text], aside: Sequence[Text]) -> RenderableType:
    """A trial's number, category, title, val_bpb and gain; if wide, its time and verdict too."""
    is_wide = width >= WIDE
    taken = 3 + 15 + 15 + 7 + 4 * GAP + (6 + WORDS_WIDTH + 2 * GAP if is_wide else 0)
    for cell, size in zip(cells, (3, 15, max(8, min(60, width - taken)), 15, 7), strict=True):
        cell.truncate(size, overflow="ellipsis", pad=True)
    line = Text(" " * GAP, no_wrap=True).join(cells)
    if not is_wide:
        return line
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=line.cell_len)
    grid.add_row(line, *aside)
    return grid


def _row(trial: Trial, width: int) -> RenderableType:
    """A finished trial: one line if wide, else the verdict and the time on a second one."""
    end = trial.outcome
    style = _STYLES.get(end, "")
    quiet = "dim" if style == "dim" else ""
    score = interval(trial.val_bpb, trial.val_bpb_half) or one_line(trial.status, 15)
    words, spent = Text(one_line(trial.words), style=style), clock(trial.seconds)
    cells = [
        Text(f"{trial.trial:>3}", style="dim"),
        Text(one_line(trial.category, 40), style=quiet),
        Text(one_line(trial.title), style=quiet),
        Text(score or "not trained", style="red" if end == "failed" else quiet),
        Text(f"{signed(trial.gain):>7}", style=style),
    ]
    line = _columns(width, cells, [Text(f"{spent:>6}", style="dim"), words])
    if width >= WIDE:
        return line
    return Group(line, Padding(words.append(f"  {spent}", style="dim"), (0, 0, 0, INDENT)))
