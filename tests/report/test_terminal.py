"""What a campaign looks like in a real pseudo-terminal, and as a pipe."""

from __future__ import annotations

import logging
import os
import re
import signal
from dataclasses import replace
from typing import Any

import pytest
from events import PRIOR, Story, campaign
from rich.console import Console
from screens import Screen, screen

from agent.campaign.live import Live
from agent.campaign.state import State
from agent.report.display import Display
from agent.report.terminal import RichDisplay, make_display, rich_display
from agent.report.terminal.panel import panel, sketch
from agent.report.view import view

HOSTILE = (
    "[bold]x[/bold] \x1b[2J\x1b]0;title\x07 [link=file:///x]y[/link] \r\u202e 日本語日本語 \u0301"
)
NOW = 1_700_000_000.0


def display_of(seen: Screen, columns: int, lines: int = 40) -> RichDisplay:
    how: dict[str, Any] = {"width": columns, "height": lines, "highlight": False}
    return RichDisplay(Console(file=seen.stream, force_terminal=True, **how))


def train(display: Display, until: int = 12, ahead: float = 0.004) -> None:
    """Both trainings of a heat, ``until`` so many twentieths of it."""
    for number in (0, 1):
        display.event({"event": "ready", "training": number})
    for step in range(1, until + 1):
        for number in (0, 1):
            bpb = 2.0 - step / 50 - ahead * number
            log = {"step": step, "loss": 3.0, "bpb": bpb, "spent": step / 20}
            display.event({"event": "log", "training": number, **log})


def play(display: Display, state: State) -> None:
    """A campaign that has come to the second heat of its last trial."""
    earlier = replace(state, trials=state.trials[:-2], ended=state.ended[:-2])
    display.attach("t", earlier, os.getpid())
    for trial in state.finished[-2:]:
        earlier.trials.append(trial)
        earlier.ended.append(trial.trial)
        display.verdict(trial, earlier, PRIOR)
    last = replace(state.trials[1], trial=7, verdict=None)
    display.proposing(replace(last, title=""))
    display.heat(replace(last, trainings=last.trainings[:2]), 1, "20s")
    train(display)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_glance_answers_every_question(columns: int) -> None:
    with screen(columns) as seen:
        display = display_of(seen, columns)
        play(display, campaign().state)
        seen.wait_for("candidate ahead by 0.0040 at 60 %")
        found = seen.text
        seen.wait(lambda: seen.hides_cursor)
        display.close()
        seen.wait(lambda: "candidate ahead" not in seen.text and not seen.hides_cursor)
        left = seen.text
    for expected in (
        r"heat 2 of trial 7: candidate ahead by 0\.0040 at 60 %  \d:\d\d",
        r"champion +[▁-█]{8,}\s+1\.7600",
        r"candidate +[▁-█]{8,}\s+1\.7560",
        r"differences so far: \+0\.0120",
        r"✓ +1  schedule +longer warm-down",
        r"✗ +2  architecture",
        r"· +3  optimizer",
        r"~ +4  regularisation",
        r"kept: better by 0\.0140 ± 0\.0082 in 3 heats",
        r"champion +trial 1, val_bpb 1\.28\d\d",
        r"gain +\+0\.0130 \(\+0\.0050 to \+0\.0210\), not verified yet",
        r"false keeps +0 of 1 null kept",
        r"prior +schedule +█+ +19%",
        r"simplification +█+\S* +5%",
        r"cost +no model was paid",
        r"pace +1:00 a trial, no end is set",
    ):
        assert re.search(expected, found), expected
    assert "longer warm-down" in left, "finished trials stay in the scrollback"


def test_nothing_wraps_at_any_size() -> None:
    """A line that a terminal wraps would leave remains of the panel, drawn anew, above it."""
    state = campaign().state
    shown = view(state, "t", PRIOR, pid=1)
    live = Live.of(state.trials[4], stage="preparing", detail=HOSTILE * 5, heat=1)
    for width in (10, 39, 79, 199):
        for height in (3, 16, 24, 60):
            lines = panel(live, shown, "RECORDED " * 40, NOW, width, height)
            assert max(line.cell_len for line in lines) <= width
    with screen(80, 24) as seen:
        display = display_of(seen, 80, 24)
        play(display, campaign().state)
        for _ in range(5):
            display._refresh()
        seen.wait_for("candidate ahead by 0.0040 at 60 %", "pace ")
        display.close()
        seen.wait(lambda: not seen.hides_cursor)
        everything = seen.scrolled
    for once in ("kept: better by", "null trial", "twice as wide"):
        assert everything.count(once) <= 1, everything
    assert "candidate ahead" not in everything, "nothing of the panel is left"


@pytest.mark.parametrize("columns", [80, 200])
def test_hostile_text_is_text(columns: int) -> None:
    story = Story()
    story.baseline()
    number = story.draw(HOSTILE)
    story.candidate(number, HOSTILE, HOSTILE)
    story.heat(number, 1.3, 1.4, reason=HOSTILE)
    story.end(number, "revert", HOSTILE, status="ok", gain=-0.1, gain_half=0.01)
    state = story.state
    with screen(columns) as seen:
        display = display_of(seen, columns)
        display.attach("t", state, 1)
        display.verdict(state.trials[1], state, {HOSTILE: 1.0})
        display.heat(state.trials[1], 0, HOSTILE)
        display.event({"event": "preparing", "stage": HOSTILE, "fraction": 0.5})
        display.message(HOSTILE)
        seen.wait_for("[bold]x[/bold]", "prior ", "cost ")
        display.close()
        seen.wait(lambda: not seen.hides_cursor)
        raw = seen.raw.decode()
    assert "\x1b]" not in raw
    assert "\x1b[2J" not in raw
    assert "\x07" not in raw
    assert "\u202e" not in raw


def test_no_colour_is_asked_for_and_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with screen(80) as seen:
        display = display_of(seen, 80)
        play(display, campaign().state)
        seen.wait_for("candidate ahead by 0.0040")
        display.close()
        raw = seen.raw.decode()
    assert not re.search(r"\x1b\[[\d;]*3[0-7][\d;]*m", raw)


def test_kill_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "left by another test"
    ended = []
    with screen(80) as seen:
        display = display_of(seen, 80)
        play(display, campaign().state)
        seen.wait(lambda: seen.hides_cursor)

        def kill(_: int, number: int) -> None:
            assert signal.getsignal(number) is signal.SIG_DFL
            seen.wait(lambda: not seen.hides_cursor)
            ended.append(number)

        monkeypatch.setattr(os, "kill", kill)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "it would end the tests"
        signal.raise_signal(signal.SIGTERM)
        display.close()
    assert ended == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_smaller_window_is_drawn_anew() -> None:
    with screen(120) as seen:
        display = display_of(seen, 120)
        play(display, campaign().state)
        seen.wait_for("candidate ahead")
        seen.resize(60, 40)
        display._console._width = 60
        display._refresh()
        seen.wait_for("trials ", "candidate ahead", "✗   2")
        assert seen.text.count("candidate ahead") == 1
        display.close()


def breaks(*_: object, **__: object) -> None:
    raise UnicodeEncodeError("ascii", "x", 0, 1, "of a test")


@pytest.mark.parametrize(
    ("name", "where"),
    [("panel", rich_display), ("row", rich_display), ("view", rich_display)],
)
def test_a_display_that_fails_becomes_lines(
    name: str, where: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with screen(80) as seen, caplog.at_level(logging.WARNING):
        display = display_of(seen, 80)
        monkeypatch.setattr(where, name, breaks)
        play(display, campaign().state)
        trial = campaign().state.trials[1]
        display.heat_over(replace(trial, trial=7), trial.heats[2])
        display.verdict(trial, campaign().state, PRIOR)
        display.close()
        seen.wait_for("heat 2: difference +0.0160", "trial 1: schedule; longer warm-down")
        seen.wait(lambda: not seen.hides_cursor)
    assert len(caplog.records) == 1


def test_a_failure_while_it_is_redrawn_is_no_failure_of_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with screen(80) as seen:
        display = display_of(seen, 80)
        play(display, campaign().state)
        seen.wait_for("candidate ahead")
        monkeypatch.setattr(rich_display, "panel", breaks)
        seen.wait(lambda: display._has_failed)  # by the thread that draws
        display.message("the run goes on")
        seen.wait_for("note: the run goes on")
        display.close()
        seen.wait(lambda: not seen.hides_cursor)
    assert len(caplog.records) == 1


def test_curves_are_drawn_on_one_scale() -> None:
    falls = tuple((k / 20, 2.0 - k / 40, 1) for k in range(1, 21))
    lower = tuple((share, mean - 0.2, count) for share, mean, count in falls[:10])
    above, below = sketch([falls, lower], 40)
    assert len(above) == len(below) == 40
    assert above[0] == "█"
    assert below.rstrip() == below[:20]
    assert all(a >= b for a, b in zip(above[2:20], below[2:20], strict=True))
    flat, nothing = sketch([((0.5, 2.0, 1),), ()], 10)
    assert (flat.strip(), nothing.strip()) == ("▁" * 5, "")


def test_a_pipe_gets_lines_without_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI services do
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as pipe:
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            display = make_display(stream)
            play(display, campaign().state)
            display.close()
        lines = pipe.read().splitlines()
    assert all(line.isprintable() for line in lines)
    assert any(line.startswith("trial 6: architecture; twice as wide") for line in lines)
