"""The trials of a campaign, oldest first: what ``log`` prints, as lines, a graph, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from agent.campaign.compared import finding
from agent.campaign.records import Trial
from agent.report.columns import cut, hung
from agent.report.text import clock, interval, signed
from agent.report.verification import transfer_words
from trainer.untrusted import one_line

INDENT = "     "
MARKS = {"kept": "●", "reverted": "○", "failed": "×", "rejected": "·", "null": "◌", "open": "?"}
LEGEND = "● kept  ○ reverted  × training failed  · rejected before training  ◌ null trial"
STYLES = {"kept": "green", "reverted": "", "failed": "red", "rejected": "yellow", "null": "dim"}
NOTHING = "no trial is finished yet"
NONE_SUCH = "no finished trial is of that kind"
LOGGED = (
    "trial commit parent category credited title hypothesis sign proposer verdict words status "
    "kind level scores differences val_bpb val_bpb_half gain gain_half claimed reward seconds "
    "lines_added lines_removed size_delta"
)
"""What ``log`` tells of a trial."""
WHAT_ROOM, WHAT_LINES = 24, 3
"""What was tried has a line of its own if there are fewer columns than that behind the numbers; and
so many lines at most."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a text that begins with one of them."""


def select(trials: Iterable[Trial], category: str = "", verdict: str = "") -> list[Trial]:
    """Those of a category and with a verdict, "" for any; both as the journal has them."""
    return [t for t in trials if category in ("", t.category) and verdict in ("", t.verdict)]


def log_json(trials: Iterable[Trial], openings: Sequence[str]) -> list[dict[str, Any]]:
    """What ``log --json`` prints: finished trials, oldest first; trial 0 is the baseline."""
    return [_logged(trial) | {"openings": list(openings)} for trial in trials]


def _logged(trial: Trial) -> dict[str, Any]:
    row = {name: getattr(trial, name) for name in LOGGED.split()}
    row |= {name: row[name] or None for name in ("commit", "parent", "status")}
    row |= {name: list(row[name]) for name in ("scores", "differences")}
    row["transfers"] = [asdict(transfer) for transfer in trial.transfers]
    row["objective"] = dict(trial.objective)
    return row | {"kind": trial.kind if trial.heats else None}


def log_csv(trials: Iterable[Trial]) -> str:
    """The same as CSV, a line a trial below a line of names; several numbers have spaces between.

    A text that a spreadsheet would take for a formula has an apostrophe before it: it may come from
    a model.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names := LOGGED.split())
    for trial in trials:
        row = _logged(trial)
        writer.writerow([_cell(row[name]) for name in names])
    return table.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if not isinstance(value, str):
        return value
    line = one_line(value, 4000)
    return f"'{line}" if line.startswith(_FORMULA) else line


def log_lines(trials: Iterable[Trial], columns: int) -> Iterator[Text]:
    """Two lines of each, more where they do not fit or it transfers."""
    for trial in trials:
        score = interval(trial.val_bpb, trial.val_bpb_half) or trial.status or "not trained"
        numbers = _numbers(trial, f"{score:<15}") + f"{clock(trial.seconds):>7}  "
        head = Text(numbers, STYLES.get(trial.outcome, ""))
        room = columns - head.cell_len
        if room < WHAT_ROOM:
            yield cut(head, columns)
            head, room = Text(INDENT), columns - len(INDENT)
        yield from hung(head, one_line(what(trial), WHAT_LINES * room), columns)
        yield from hung(INDENT, verdict_words(trial), columns, "dim")
        if trial.transfers:
            yield from hung(INDENT, transfer_words(trial), columns, "dim")


def graph_lines(trials: Iterable[Trial], columns: int) -> Iterator[Text]:
    """Kept trials on the trunk, the others as side branches of the champion they were tried on."""
    for trial in trials:
        mark = MARKS[trial.outcome]
        branch = mark + "  " if trial.outcome == "kept" else "├─" + mark
        score = interval(trial.val_bpb, None) or trial.status or "rejected"
        row = f"{branch} {_numbers(trial, f'{score:<9}')} {what(trial)}"
        yield cut(Text(row, STYLES.get(trial.outcome, "")), columns)


def verdict_words(trial: Trial) -> str:
    """The verdict in words; of a score that was no better, whether it lost or nobody knows."""
    found = "" if trial.is_null else finding(trial)
    return one_line(f"{found}: {trial.words}" if found else trial.words)


def _numbers(trial: Trial, score: str) -> str:
    """How a trial's lines begin."""
    return f"{trial.trial:>3}  {trial.commit[:7]:7}  {score}  {signed(trial.gain):>7} "


def what(trial: Trial) -> str:
    """What was tried: category and title."""
    category = one_line(trial.category, 40)
    return f"{category}: {one_line(trial.title)}" if trial.title else category
