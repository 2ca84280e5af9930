"""``watch``: a campaign that another process runs, as it happens."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_here
from events import campaign
from project import clone_without_model
from screens import screen

from agent.campaign.events import read_event
from agent.campaign.following import Following
from agent.campaign.journal import Journal
from agent.campaign.lines import write_line
from agent.campaign.live import Live, LiveFile
from agent.git.repo import Repo
from agent.report.display import Display
from agent.report.narrate import narrate

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.process


def begin(folder: Path, count: int) -> list[dict[str, object]]:
    """A repository with the first ``count`` events of a campaign; returns those to come."""
    home = clone_without_model(folder) / "campaigns" / "t"
    home.mkdir(parents=True)
    events = campaign().events
    events[1]["pid"] = os.getpid()
    events[2]["text"] = (folder / "program.md").read_text()
    lines = [write_line(read_event(event)) for event in events[:count]]
    (home / "journal.jsonl").write_bytes(b"".join(lines))
    return events[count:]


def test_what_happens_elsewhere_is_told_as_it_happens(tmp_path: Path) -> None:
    left = begin(tmp_path, 12)
    home = tmp_path / "campaigns" / "t"
    following = Following(Repo.open(tmp_path), "t")
    known = len(following.state.finished)
    assert following.is_over
    stream = io.StringIO()
    with Journal(home / "journal.jsonl") as journal:
        file = LiveFile(home)
        assert not following.is_over
        looks = 0

        def wait(seconds: float) -> None:
            nonlocal looks
            looks += 1
            for event in left[:5]:
                journal.append(read_event(event))
            del left[:5]
            trial = following.state.trials[-1]
            detail = {"stage": "preparing", "detail": f"look {looks}"}
            file.write(Live.of(trial, heat=0, **detail))
            if not left:
                file.close()
                journal.close()

        narrate(following, Display(stream), wait)
    lines = stream.getvalue().splitlines()
    assert known < 6
    for number in range(known, 7):
        told = [line for line in lines if line.startswith(f"trial {number}: ")]
        assert told, number
    assert any("longer warm-down" in line and "gain +0.0130" in line for line in lines)
    assert any(line.startswith("  heat 1: preparing: look ") for line in lines), "as live.json says"
    assert all(line.isprintable() for line in lines)


def test_a_campaign_that_does_not_run_shows_where_it_stands(tmp_path: Path) -> None:
    begin(tmp_path, 1000)
    done = run_here(tmp_path, "watch", "--tag", "t")
    assert done.returncode == 0, done.stderr
    assert "0.0130" in done.stdout
    assert "python -m agent run --tag t" in done.stdout, "how it goes on"
    assert "\x1b" not in done.stdout
    assert run_here(tmp_path, "watch", "--tag", "other").returncode == 2


def test_the_demo_in_a_terminal(tmp_path: Path) -> None:
    """No repository, no campaign, no data; a stop and a resume; Ctrl-C leaves the terminal sane."""
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environ |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    environ |= {"AUTORESEARCH_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    with screen(80, 30) as seen:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "watch", "--demo"],
            cwd=tmp_path,
            env=environ,
            stdin=seen.stream,
            stdout=seen.stream,
            stderr=seen.stream,
            process_group=0,  # in a session of its own nobody could resume it
        )
        try:
            seen.wait_for("RECORDED", "now  ", "champion", "prior  ", "cost  ", "pace  ")
            seen.wait(lambda: "at 1" in seen.text or "scoring" in seen.text)
            assert seen.hides_cursor
            process.send_signal(signal.SIGTSTP)
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            seen.wait(lambda: not seen.hides_cursor)
            assert "pace  " not in seen.text
            process.send_signal(signal.SIGCONT)
            seen.wait_for("RECORDED", "pace  ")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
        seen.wait(lambda: not seen.hides_cursor)
        assert "pace  " not in seen.text
        assert "Traceback" not in seen.scrolled
    assert not list(tmp_path.iterdir()), "nothing was prepared"
