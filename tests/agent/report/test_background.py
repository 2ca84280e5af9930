"""The report while a campaign runs, by real processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from events import campaign as story
from project import clone_without_model

from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.report import background
from agent.report.background import Reporter, reports
from agent.steps.stop import StopNow

pytestmark = pytest.mark.process


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    """A campaign of some trials; a report is due at once."""
    monkeypatch.setattr(background, "EVERY_SECONDS", 0.0)
    folder = clone_without_model(tmp_path) / "campaigns" / "t"
    folder.mkdir(parents=True)
    events = story().events
    program = (tmp_path / "program.md").read_text()
    events[2]["text"] = program
    (folder / "journal.jsonl").write_bytes(b"".join(write_line(read_event(e)) for e in events))
    with closing(Campaign(Repo.open(tmp_path), "t")) as campaign:
        yield campaign


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ours() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "agent.report.background" in child.cmdline()
    ]


def test_it_is_written_beside_the_run_with_the_lowest_priority(opened: Campaign) -> None:
    reporter = Reporter(opened.repo, "t")
    reporter.after_trial()
    wait(lambda: bool(ours()))  # just after it is begun it has no command line yet
    (child,) = ours()
    reporter.after_trial()
    assert ours() == [child], "one at a time"
    assert os.getpgid(child.pid) == child.pid
    wait(lambda: not child.is_running() or child.status() == "zombie" or child.nice() == 19)
    wait((opened.folder / "report.html").exists)
    assert (opened.folder / "progress.png").stat().st_size > 1000
    reporter.close()
    assert ours() == []


def test_not_before_it_is_due(opened: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "EVERY_SECONDS", 300.0)
    reporter = Reporter(opened.repo, "t")
    reporter.after_trial()
    assert ours() == []
    reporter.close()


def test_a_failure_is_a_line_of_the_log(opened: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter(opened.repo, "another")
    reporter.after_trial()
    wait(lambda: bool(ours()))  # just after it is begun it has no command line yet
    (child,) = ours()
    wait(lambda: child.status() == psutil.STATUS_ZOMBIE)
    with caplog.at_level(logging.WARNING):
        reporter.close()
    (line,) = caplog.messages
    assert line.startswith("the report was not written: there is no campaign 'another'")


PARENT = """
import sys, time
from pathlib import Path
from agent.git.repo import Repo
from agent.report import background
background.EVERY_SECONDS = 0.0
reporter = background.Reporter(Repo.open(Path.cwd()), "t")
reporter._command = [sys.executable, "-c", (
    "from agent.report import background;"
    "background.report = lambda *a: __import__('time').sleep(600);"
    "import sys; sys.argv[1:] = ['t'];"
    "background.main()"
)]
reporter.after_trial()
print(reporter._process.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_a_parent_that_is_killed(opened: Campaign) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=opened.repo.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    wait(lambda: child.nice() == 19)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([child], timeout=120)
    assert not child.is_running()


@pytest.mark.parametrize("end", [None, ValueError, KeyboardInterrupt, StopNow])
def test_at_the_end_it_is_always_written_unless_the_user_is_in_a_hurry(
    end: type[BaseException] | None, opened: Campaign
) -> None:
    told: list[str] = []
    try:
        with reports(opened, told.append):
            if end is not None:
                raise end(2)
    except (ValueError, KeyboardInterrupt, StopNow):
        pass
    assert (opened.folder / "report.html").exists() == (end in (None, ValueError))
    assert told == []


def test_a_report_that_cannot_be_written_ends_nothing(opened: Campaign) -> None:
    (opened.folder / "report.html").mkdir()
    told: list[str] = []
    with reports(opened, told.append):
        pass
    (line,) = told
    assert "report.html could not be written: Is a directory" in line
