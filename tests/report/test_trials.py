"""``log``: lines that fit, a graph, CSV, a choice of trials."""

from __future__ import annotations

import csv
import io

import pytest
from events import Story, campaign

from agent.campaign.records import Trial
from agent.report.columns import LEAST, plain
from agent.report.trials import LOGGED, graph_lines, log_csv, log_json, log_lines, select

HOSTILE = (
    "\x1b[31mred\x1b[0m [bold]markup[/bold] \x07 \u202eevil \u2028 学习率学习率学习率 "
    "مرحبا بالعالم e\u0301 🇩🇪 a/very/long/word/" + 200 * "x"
)


def hostile() -> list[Trial]:
    story = Story()
    story.baseline()
    words = f"kept: {HOSTILE}"
    story.trial(HOSTILE, HOSTILE, [(1.3, 1.2)], "keep", words, HOSTILE, gain=0.1, gain_half=0.05)
    story.trial("schedule", HOSTILE, [(None, None)], words=HOSTILE)
    return story.state.finished


@pytest.mark.parametrize("columns", [LEAST, 60, 80, 100])
def test_no_line_is_too_long_whatever_was_written(columns: int) -> None:
    for trials in (hostile(), campaign().state.finished):
        lines = [*log_lines(trials, columns), *graph_lines(trials, columns)]
        assert max(line.cell_len for line in lines) <= columns
        text = plain(lines)
        assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "[bold]" in plain(log_lines(hostile(), 100)), "no markup is read"


def test_a_title_goes_on_below_where_it_began() -> None:
    lines = plain(log_lines(campaign().state.finished, 100)).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("  4"))
    assert lines[first].endswith("regularisation: weight decay 0.1 on matrices, none")
    assert lines[first + 1] == " " * lines[first].index("regularisation") + "on embeddings"
    assert lines[first + 2].startswith("     inconclusive: worse by 0.0010 ± 0.0080 in 2 heats")


def test_a_narrow_terminal_has_the_title_on_a_line_of_its_own() -> None:
    lines = plain(log_lines(campaign().state.finished, 60)).splitlines()
    assert "     architecture: heads of 32 instead of 64" in lines


def test_trials_are_chosen_as_the_journal_has_them() -> None:
    trials = campaign().state.finished
    assert [t.trial for t in select(trials, "architecture")] == [2, 6]
    assert [t.trial for t in select(trials, verdict="keep")] == [0, 1]
    assert [t.trial for t in select(trials, "null", "revert")] == [5]
    assert select(trials) == trials
    rows = log_json(trials, ["verify"])
    for verdict in ("keep", "revert", "rejected"):
        same = [row["trial"] for row in rows if row["verdict"] == verdict]
        assert [t.trial for t in select(trials, verdict=verdict)] == same
    assert rows[0]["openings"] == ["verify"]


def test_csv_has_the_columns_of_the_json() -> None:
    trials = campaign().state.finished
    rows = list(csv.DictReader(io.StringIO(log_csv(trials))))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5", "6"]
    assert list(rows[0]) == LOGGED.split()
    told = log_json(trials, ())[1]
    assert [float(one) for one in rows[1]["scores"].split()] == told["scores"]
    assert float(rows[1]["gain"]) == told["gain"] and rows[3]["gain"] == ""


def test_no_cell_is_a_formula_or_a_second_line() -> None:
    story = Story()
    story.baseline()
    for title in ("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2\n=3", "\t=4", 'a,"b'):
        story.trial("schedule", title, [(1.3, 1.31)], words=title, hypothesis=title)
    rows = list(csv.reader(io.StringIO(log_csv(story.state.finished))))
    assert len(rows) == 1 + 7 and {len(row) for row in rows} == {len(LOGGED.split())}
    names = LOGGED.split()
    for row in rows[2:]:
        for name in ("title", "words", "hypothesis"):
            assert row[names.index(name)][0] not in "=+-@\t", row
