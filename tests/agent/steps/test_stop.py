"""Stopping a real run: in order the first time, at once the second, in whatever it is doing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from project import ROOT, clone, events, git, wait_until

from agent.campaign.files import folder_of
from agent.campaign.journal import Journal
from agent.campaign.live import LIVE, read_live
from agent.campaign.lock import JournalBusy, holder
from agent.git.repo import Repo
from agent.steps import stop
from agent.steps.stop import REQUEST, stop_run
from trainer.errors import UserError
from trainer.sandbox import owner

pytestmark = pytest.mark.process

TRAINS = ("run", "--tag", "t", "--budget", "300s", "--llm", "none")
ASKS = ("run", "--tag", "t", "--budget", "2000tok", "--proposer", "llm", "--llm")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small training file, so that what comes before it is the time that a test takes."""
    folder = clone(tmp_path_factory.mktemp("project"))
    tiny = (ROOT / "tests/tiny_train.py").read_text()
    (folder / "trainer/train.py").write_text(tiny)
    git(folder, "commit", "-qam", "a small training file")
    return folder


class Run:
    """A run under way, and all that it has started so far."""

    def __init__(self, folder: Path, *args: str, **how: Any) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "agent", *args]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | how
        how = {"args": command, "cwd": folder, "text": True} | how
        self.process = subprocess.Popen(**how)
        self.below: list[psutil.Process] = []

    def until(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, self.process)
        self.below = psutil.Process(self.process.pid).children(recursive=True)

    def has(self, event: str) -> bool:
        return any(found["event"] == event for found in events(self.folder))

    def ended(self) -> tuple[int, str]:
        """Its exit status and output, once nothing of it is left."""
        out, _ = self.process.communicate(timeout=120)
        _, alive = psutil.wait_procs(self.below, timeout=30)
        assert not alive
        assert "Traceback" not in (out or "")
        return self.process.returncode, out or ""


@pytest.fixture
def begin(project: Path) -> Iterator[Callable[..., Run]]:
    begun: list[Run] = []

    def start_one(*args: str, **how: Any) -> Run:
        begun.append(Run(project, *args, **how))
        return begun[-1]

    yield start_one
    for run in begun:
        run.process.kill()
        run.process.communicate()
    subprocess.run(["rm", "-rf", str(project / "campaigns")], check=True)
    for ref in git(project, "for-each-ref", "--format=%(refname)").splitlines():
        if "autoresearch" in ref:
            git(project, "update-ref", "-d", ref)
    git(project, "worktree", "prune")


def whole_journal(folder: Path) -> list[str]:
    """The events in order; each line of the journal is one."""
    lines = (folder / "campaigns/t/journal.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_once_it_ends_in_order(begin: Callable[..., Run], tmp_path: Path) -> None:
    told = tmp_path / "told"
    tell = f"sh -c '(echo $AUTORESEARCH_EVENT $AUTORESEARCH_TAG; cat) > {told}'"
    run = begin(*TRAINS, "--notify", tell)
    home = run.folder / "campaigns" / "t"
    run.until(lambda: (live := read_live(home)) is not None and live.who == "baseline")
    run.process.send_signal(signal.SIGINT)
    code, out = run.ended()
    assert code == 0
    assert not (home / LIVE).exists()
    assert whole_journal(run.folder)[-1] == "stop"
    assert "the training under way is dropped, and done again" in out
    assert "stopped: asked to stop" in out
    assert told.read_text() == "stopped t\nasked to stop\n"


def test_twice_it_ends_at_once(begin: Callable[..., Run]) -> None:
    script = "from agent import cli; from agent.steps import stop; stop.AGAIN_SECONDS = -1.0; "
    run = begin(args=[sys.executable, "-c", script + "cli.main()", *TRAINS])
    run.until(lambda: run.has("training_started"))
    os.kill(run.process.pid, signal.SIGSTOP)  # so that it sees both before it has ended
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGTERM)  # two of one number are delivered as one
    os.kill(run.process.pid, signal.SIGCONT)
    code, out = run.ended()
    assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert "stopped at once; nothing is lost" in out
    assert whole_journal(run.folder)[-1] == "training_started"
    assert holder(run.folder / "campaigns/t/journal.jsonl") is None


@pytest.mark.parametrize(
    ("second", "soon", "code"),
    [
        (signal.SIGINT, True, None),  # a wrapper forwards what the terminal sends, too
        (signal.SIGTERM, True, None),
        (signal.SIGHUP, True, None),  # the kernel and the shell send one each
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, False, 129),
    ],
)
def test_a_second_signal(
    monkeypatch: pytest.MonkeyPatch, second: signal.Signals, soon: bool, code: int | None
) -> None:
    monkeypatch.setattr(stop, "AGAIN_SECONDS", 60.0 if soon else -1.0)
    asked, told = threading.Event(), list[str]()
    end = contextlib.nullcontext() if code is None else pytest.raises(stop.StopNow)
    with end as ended, stop.heeding(asked, told.append):
        signal.raise_signal(signal.SIGHUP)
        assert asked.wait(60)
        signal.raise_signal(second)
    assert told == ["SIGHUP"]
    assert ended is None or ended.value.code == code


def test_a_request_is_heeded_from_the_moment_that_there_is_a_run(repo: Repo) -> None:
    request = folder_of(repo, "t") / REQUEST
    request.parent.mkdir(parents=True)
    request.touch()
    stop.forget_request(repo, "t")
    assert not request.exists()
    asked, told = threading.Event(), list[str]()
    with Journal(request.parent / "journal.jsonl"):
        request.touch()  # by the command stop, while the run still begins
        stop.forget_request(repo, "t")
        with stop.heeding(asked, told.append, request.parent):
            assert asked.wait(60)
    assert told == ["SIGTERM"] and not request.exists()


def test_a_closed_terminal(begin: Callable[..., Run]) -> None:
    """Its session gets SIGHUP, and writing to it fails from then on."""
    ours, theirs = pty.openpty()
    script = "import os, sys, fcntl, termios; os.setsid(); fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
    script += "os.execv(sys.executable, [sys.executable, '-m', 'agent', *sys.argv[1:]])"
    command = [sys.executable, "-c", script, *TRAINS]
    run = begin(args=command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    run.until(lambda: run.has("training_started"))
    os.close(ours)
    assert run.ended()[0] == 0
    assert whole_journal(run.folder)[-1] == "stop"
    log = (run.folder / "campaigns/t/run.log").read_text()
    assert "asked to stop" in log and "SIGHUP" in log and "ERROR" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """As nohup and a shell ask for what runs in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop.handled(stop.stop_now):
            signal.raise_signal(number)
            with pytest.raises(stop.StopNow):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("model", [pytest.param("waiting", marks=pytest.mark.slow), "answering"])
def test_while_the_model_is_asked(begin: Callable[..., Run], tmp_path: Path, model: str) -> None:
    mark = tmp_path / "asked"
    program = tmp_path / "model.sh"
    then = "exec sleep 1000" if model == "answering" else "exit 1"
    program.write_text(f"#!/bin/sh\ncat > {mark}\n{then}\n")
    program.chmod(0o755)
    run = begin(*ASKS, f"command:{program}")
    event = "waiting" if model == "waiting" else "asking"
    run.until(lambda: run.has(event) and mark.exists())
    run.process.send_signal(signal.SIGTERM)
    code, _ = run.ended()
    assert code == 0
    assert whole_journal(run.folder)[-1] == "stop"


@pytest.mark.slow
def test_a_person_is_told_that_the_run_has_ended_in_an_error(
    begin: Callable[..., Run], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    tell = f"sh -c 'echo $AUTORESEARCH_EVENT > {told}'"
    run = begin(*ASKS, "command:sh -c 'exit 127'", "--notify", tell)
    run.until(lambda: run.has("refused"))
    assert run.ended()[0] == 2
    assert told.read_text() == "needed\n"


def test_before_there_is_a_campaign(begin: Callable[..., Run], tmp_path: Path) -> None:
    """While the data are prepared nothing can be lost, so once is enough."""
    environ = os.environ | {"AUTORESEARCH_CACHE": str(tmp_path / "cache")}
    run = begin(*TRAINS, env=environ)
    run.until((tmp_path / "cache").exists)
    run.process.send_signal(signal.SIGTERM)
    code, out = run.ended()
    assert code == 128 + signal.SIGTERM
    assert "stopped at once; nothing is lost" in out
    assert not (run.folder / "campaigns/t").exists()


# --- the command, of a lock that is not what it says


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("signed", "locked", "why"),
    [
        ("{pid}\n", True, "did not end"),  # as earlier versions signed
        ("{pid} {dead}\n", True, "not running"),  # something that a dead run left has the lock
        ("{pid} {elsewhere}\n", True, "did not end"),
        ("", True, "names no process"),
        ("x\n", True, "names no process"),
        ("{pid}\n", False, "not running"),
        ("{pid} {dead}\n", False, "not running"),
    ],
)
def test_stop_leaves_a_bystander_alone(
    repo: Repo, bystander: subprocess.Popen[bytes], signed: str, locked: bool, why: str
) -> None:
    folder = folder_of(repo, "t")
    folder.mkdir(parents=True)
    lock = folder / "journal.jsonl.lock"
    dead = replace(owner.this_process(), pid=bystander.pid, started="1")
    elsewhere = replace(dead, host="000000")
    lock.write_text(signed.format(pid=bystander.pid, dead=dead, elsewhere=elsewhere))
    with lock.open() as held, pytest.raises(UserError, match=why):
        if locked:
            fcntl.flock(held, fcntl.LOCK_EX)
        stop_run(repo, "t", patience=0.3)
    assert bystander.poll() is None
    assert not (folder / REQUEST).exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "is being written by process 4711: wait for it"),
        ({"started": "1"}, "locked by something that process 4711, which has ended, left behind"),
        ({"host": "000000"}, "by process 4711 of another machine or container"),
    ],
)
def test_who_is_in_the_way_of_a_run(tmp_path: Path, change: dict[str, str], why: str) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path):
        writer = replace(owner.this_process(), **change)
        (tmp_path / "journal.jsonl.lock").write_text(f"4711 {writer}\n")
        with pytest.raises(JournalBusy, match=why):
            Journal(path)


def test_a_request_that_cannot_be_made_is_told(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with Journal(folder_of(repo, "t") / "journal.jsonl"):
        monkeypatch.setattr(Path, "touch", refuse)
        with pytest.raises(UserError, match=f"Read-only.*with Ctrl-C or kill {os.getpid()}"):
            stop_run(repo, "t")
