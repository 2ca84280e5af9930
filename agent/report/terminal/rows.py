"""A finished trial as lines that scroll by: its mark, numbers, verdict and time."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.campaign.records import Trial
from agent.report.text import clock, interval, mark, signed
from trainer.untrusted import one_line

WIDE = 150
"""From this many columns on, the verdict is on the trial's own line."""
INDENT, GAP, WORDS_WIDTH = 7, 2, 64
_NUMBER = 5
_STYLES = {"kept": "green", "reverted": "dim", "failed": "dim", "rejected": "yellow", "null": "dim"}
_HEADING = ("    #", "category", "what", "val_bpb", "   gain"), ("  time", "verdict")


def heading(width: int) -> RenderableType:
    """What stands above the first row."""
    cells, aside = ([Text(name, style="dim") for name in names] for names in _HEADING)
    return _columns(width, cells, aside)


def row(trial: Trial, width: int) -> RenderableType:
    """One line if the terminal is wide, else the verdict and the time on a second one."""
    end = trial.outcome
    style = _STYLES.get(end, "")
    quiet = "dim" if style == "dim" else ""
    score = interval(trial.val_bpb, trial.val_bpb_half) or one_line(trial.status, 15)
    words, spent = Text(one_line(trial.words), style=style), clock(trial.seconds)
    cells = [
        Text.assemble((mark(trial), style), (f" {trial.trial:>3}", "dim")),
        Text(one_line(trial.category, 40), style=quiet),
        Text(one_line(trial.title), style=quiet),
        Text(score or "not trained", style="red" if end == "failed" else quiet),
        Text(f"{signed(trial.gain):>7}", style=style),
    ]
    line = _columns(width, cells, [Text(f"{spent:>6}", style="dim"), words])
    if width >= WIDE:
        return line
    words.truncate(max(1, width - INDENT - GAP - len(spent)), overflow="ellipsis")
    words.append(f"{' ' * GAP}{spent}", style="dim")
    return Group(line, Padding(words, (0, 0, 0, INDENT)))


def _columns(width: int, cells: Sequence[Text], aside: Sequence[Text]) -> RenderableType:
    """A trial's number, category, title, val_bpb and gain; if wide, its time and verdict too."""
    is_wide = width >= WIDE
    taken = _NUMBER + 15 + 15 + 7 + 4 * GAP + (6 + WORDS_WIDTH + 2 * GAP if is_wide else 0)
    for cell, size in zip(cells, (_NUMBER, 15, max(8, min(60, width - taken)), 15, 7), strict=True):
        cell.truncate(size, overflow="ellipsis", pad=True)
    line = Text(" " * GAP, no_wrap=True).join(cells)
    if not is_wide:
        return line
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column(width=line.cell_len)
    grid.add_row(line, *aside)
    return grid
