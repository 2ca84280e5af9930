"""The displays, driven as the loop drives them."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TextIO

import pytest
from events import PRIOR, Story, campaign
from rich.cells import cell_len
from rich.console import Console

from agent.campaign.state import State
from agent.report.display import Display
from agent.report.terminal import RichDisplay, make_display
from agent.report.text import prior_line

EVEN = dict.fromkeys(PRIOR, 0.1)
CSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = "[red]x[/red] \x1b[31m\x1b]0;title\x07 :boom: [link=file:///x]y[/link] \r\u202e日本語"


def follow(display: Display, state: State, progress: int = 3) -> None:
    """Tell a display the campaign as it happened."""
    display.header([("campaign", "t, branch autoresearch/t"), ("device", "CPU, " + 60 * "word ")])
    for trial in state.finished:
        running = replace(trial, trainings=(), verdict=None, val_bpb=None, gain=None, words="")
        if trial.trial > 0:
            display.proposing(replace(running, title=""))
        for run in trial.trainings if trial.trial == 0 else ():
            display.training(running, run, "20s")
            measure(display, progress, ({},))
            display.trained(run)
        for index, heat in enumerate(trial.heats):
            display.heat(replace(running, trainings=trial.trainings[: 2 * index]), index, "20s")
            measure(display, progress, ({"training": 0}, {"training": 1}))
            display.heat_over(replace(running, trainings=trial.trainings[: 2 * index + 2]), heat)
        display.verdict(trial, state, PRIOR if trial.trial >= 2 else EVEN)
    display.message("program.md line 3 is not a setting")
    display.close()


def measure(display: Display, progress: int, sides: Sequence[dict[str, int]]) -> None:
    """The events of one measurement; ``sides`` are whose they are."""
    for side in sides:
        display.event(
            {"event": "preparing", "stage": "training tokenizer", "fraction": 0.4, **side}
        )
        display.event({"event": "ready", **side})
    for step in range(progress):
        spent = None if step == 0 else step / progress
        for side in sides:
            display.event({"event": "log", "step": step, "loss": 3.25, "spent": spent, **side})
    for side in sides:
        display.event({"event": "scoring", "fraction": 0.7, **side})


def rich_output(state: State, width: int) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=width, highlight=False, color_system="standard"
    )
    follow(RichDisplay(console), state)
    return stream.getvalue()


def screen(output: str) -> list[str]:
    """The lines, also those that were erased later, without control codes."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CSI.sub("", output))]


def hostile() -> State:
    story = Story()
    story.baseline()
    number = story.draw(HOSTILE)
    story.candidate(number, HOSTILE, HOSTILE)
    story.heat(number, None, None, reason=HOSTILE)
    story.end(number, "revert", HOSTILE, status="crashed")
    return story.state


def test_a_trial_is_a_line_with_its_numbers_and_a_line_with_its_verdict() -> None:
    lines = screen(rich_output(campaign().state, 80))
    row = lines.index("       kept: better by 0.0140 ± 0.0082 in 3 heats  1:00") - 1
    assert re.fullmatch(
        r"✓   1  schedule +longer warm-down, .*…  1\.2870 ± 0\.0060  \+0\.0130", lines[row]
    )
    assert any(re.fullmatch(r"✗   2  architecture +heads of 32 .* crashed", line) for line in lines)
    assert any(re.fullmatch(r"·   3  optimizer +not trained", line) for line in lines)
    assert any(
        re.fullmatch(r"◌   5  null +the champion .* 1\.2900 +-0\.0019", line) for line in lines
    )
    assert any(re.fullmatch(r"✗   6  archit.* abandoned +-0\.0600", line) for line in lines)


def test_a_wide_terminal_has_one_line_a_trial() -> None:
    lines = screen(rich_output(campaign().state, 180))
    assert any(
        re.fullmatch(
            r"~   4  regularisation .* 1\.2890 ± 0\.0090  -0\.0010 +1:00  worse by .*", line
        )
        for line in lines
    )


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    for state in (campaign().state, hostile()):
        output = rich_output(state, width)
        assert max(cell_len(line) for line in screen(output)) <= width


def test_kept_is_green_and_rejected_is_yellow() -> None:
    output = rich_output(campaign().state, 80)
    assert re.search(r"\x1b\[32m\+0\.0130", output)
    assert re.search(r"\x1b\[33mrejected before training", output)
    assert re.search(r"\x1b\[2m-0\.0010", output)
    assert re.search(r"\x1b\[2m1\.2900.*\x1b\[2m-0\.0019", output), "a null trial is quiet"


def test_the_panel_says_who_is_trained_and_how_far() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    display = RichDisplay(console)
    state = campaign().state
    trial = replace(state.trials[1], verdict=None, trainings=state.trials[1].trainings[:2])

    def look(width: int = 80) -> str:
        assert display._redrawn is not None
        console.width = width
        paper = Console(file=io.StringIO(), width=width)
        with paper.capture() as captured:
            paper.print(display._render())
        assert max(cell_len(line) for line in captured.get().splitlines()) <= width
        return captured.get()

    display.proposing(replace(trial, title=""))
    assert "drafting an edit in schedule" in look()
    display.heat(replace(trial, trainings=()), 0, "20s")
    assert "heat 1 of trial 1: training" in look()
    assert "differences so far" not in look()
    display.heat(replace(trial, trainings=state.trials[1].trainings[:4]), 2, "20s")
    assert "heat 3 of trial 1" in look()
    display.event({"event": "preparing", "stage": "training tokenizer", "fraction": 0.4})
    assert re.search(r"preparing: training tokenizer  \d:\d\d", look(100))
    assert "champion  " not in look(), "there is no curve yet"
    for number, bpb in ((0, 1.9), (1, 1.8)):
        display.event({"event": "ready", "training": number})
        for step in range(1, 13):
            log = {"step": step, "loss": 3.4, "bpb": bpb - step / 100, "spent": step / 20}
            display.event({"event": "log", "training": number, **log})
    assert "heat 3 of trial 1: candidate ahead by 0.1000 at 60 %" in look()
    assert re.search(r"champion +[▁-█]+ +1\.7800", look())
    assert re.search(r"candidate +[▁-█]+ +1\.6800", look())
    assert "differences so far: +0.0120 +0.0140" in look()
    display.event({"event": "log", "step": 413, "loss": float("nan"), "spent": None})
    display.event({"event": "scoring", "fraction": 0.7, "training": 1})
    assert "scoring candidate at 70 %" in look()
    display.heat_over(trial, state.trials[1].heats[2])
    assert "trial 1: judging" in look()
    assert "candidate" in look(), "its curve is still there"
    display.training(replace(trial, trial=0, trainings=()), state.trials[0].trainings[0], "20s")
    assert "baseline of trial 0: training" in look()
    display.trained(state.trials[0].trainings[0])
    display.verdict(state.trials[3], state, PRIOR)
    assert "choosing what to try next" in look()
    display.close()
    assert display._redrawn is None


def test_a_measurement_without_a_trial_is_shown_too() -> None:
    """As when the corpus is prepared, or a commit replayed."""
    stream = io.StringIO()
    display = RichDisplay(Console(file=stream, force_terminal=True, width=80, color_system=None))
    display.event({"event": "preparing", "stage": "reading documentation", "fraction": 0.0})
    display.close()
    assert "reading documentation" in stream.getvalue()


def test_a_note_of_a_measurement_is_a_message() -> None:
    note = {"event": "note", "text": "this training compiles anew", "training": 0}
    shown, written = io.StringIO(), io.StringIO()
    RichDisplay(Console(file=shown, force_terminal=True, width=80, color_system=None)).event(note)
    Display(written).event(note)
    assert shown.getvalue() == "this training compiles anew\n"
    assert written.getvalue().endswith("note: this training compiles anew\n")


def test_the_prior_is_shown_when_it_has_moved() -> None:
    lines = [line for line in screen(rich_output(campaign().state, 80)) if "prior" in line]
    assert lines == [
        "       prior  even over 10 categories",
        "       prior  schedule 19%▲  optimizer 12%▲  architecture 11%▲  dataset 11%▲  …",
    ]


def test_one_category_is_named_and_has_all() -> None:
    assert prior_line({"schedule": 100}, {}, 80) == "schedule 100%"


def test_text_of_a_model_is_data_on_a_terminal() -> None:
    output = rich_output(hostile(), 150)
    assert "\x1b]" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    text = "\n".join(screen(output))
    assert "[red]x[/red]" in text
    assert ":boom:" in text
    assert "[link=file:///x]" in text


def plain_output(state: State, seconds_a_call: float = 1.0) -> list[str]:
    clock = iter(range(100_000))
    stream = io.StringIO()
    follow(Display(stream, now=lambda: seconds_a_call * next(clock)), state, progress=30)
    return stream.getvalue().splitlines()


def test_plain_lines_tell_the_campaign() -> None:
    lines = plain_output(campaign().state)
    assert "campaign  t, branch autoresearch/t" in lines
    assert "trial 1: proposing in schedule" in lines
    title = "longer warm-down, the last 60 % of the budget"
    assert "trial 0: training baseline, seed 1, for 20s" in lines
    assert "  baseline: val_bpb 1.3000 in 0:24" in lines
    assert f"trial 1: heat 1, champion and candidate ({title}), for 20s each" in lines
    told = "difference +0.0160: champion 1.3010, candidate 1.2850 (side by side), 0:24"
    assert f"  heat 3: {told}" in lines
    assert "  heat 1: candidate crashed (crash: RuntimeError: shapes) (side by side)" in lines
    assert "  heat 1: hopeless after 25% of a heat, ended (side by side)" in lines
    assert (
        f"trial 1: schedule; {title}; val_bpb 1.2870 ± 0.0060; "
        "gain +0.0130; kept: better by 0.0140 ± 0.0082 in 3 heats (1:00)" in lines
    )
    assert (
        "trial 6: architecture; twice as wide; gain -0.0600; "
        "forecast -0.0600 ± 0.0200, hopeless after 25% of a heat, reverted (1:00)" in lines
    ), "it has no val_bpb"
    assert "note: program.md line 3 is not a setting" in lines


def test_plain_progress_comes_every_ten_seconds() -> None:
    state = campaign().state
    heats = sum(len(trial.heats) for trial in state.trials)
    steps = [line for line in plain_output(state) if " step " in line]
    assert len(steps) == 3 + 2 * 3 * heats
    assert steps[0] == "  baseline: step 9, loss 3.250, 30% of the budget"
    assert re.fullmatch(r"  heat 1: (champion|candidate) step \d, loss 3\.250, \d+% .*", steps[3])
    assert not [line for line in plain_output(state, 0.001) if " step " in line]


def test_plain_output_has_no_control_codes() -> None:
    for line in plain_output(hostile()) + plain_output(campaign().state):
        assert line.isprintable()


@contextlib.contextmanager
def broken_pipe() -> Iterator[TextIO]:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    try:
        yield stream
    finally:
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_a_closed_pipe_ends_no_campaign() -> None:
    with broken_pipe() as stream:
        with pytest.raises(BrokenPipeError):
            print("the pipe is really broken", file=stream, flush=True)
        display = make_display(stream)
        assert type(display) is Display
        follow(display, campaign().state)
    with broken_pipe() as stream:
        console = Console(file=stream, force_terminal=True, width=80)
        follow(RichDisplay(console), campaign().state)


def test_a_closed_stream_ends_no_campaign() -> None:
    stream = io.StringIO()
    display = Display(stream)
    stream.close()
    follow(display, campaign().state)


def test_an_encoding_without_the_signs_is_enough() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    follow(make_display(stream), campaign().state)
    assert b"1.2870 +- 0.0060" in raw.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    """The two ends of a pseudo-terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    master, slave = os.openpty()
    stream = os.fdopen(slave, "w", encoding="utf-8")
    try:
        yield master, stream
    finally:
        with contextlib.suppress(OSError):
            os.close(master)
        with contextlib.suppress(OSError):
            stream.close()


def test_a_terminal_gets_the_live_display(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stream = terminal
    assert isinstance(make_display(stream), RichDisplay)
    assert type(make_display(io.StringIO())) is Display
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_display(stream)) is Display


def test_a_terminal_that_hangs_up_ends_no_campaign(terminal: tuple[int, TextIO]) -> None:
    master, stream = terminal
    display = make_display(stream)
    display.message("still here")
    assert b"still here" in os.read(master, 1000)
    os.close(master)
    with pytest.raises(OSError):
        os.write(stream.fileno(), b"the terminal is really gone")
    follow(display, campaign().state)
