"""The journal, with real files, real processes and real kills."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.campaign.events import (
    CampaignBegun,
    Concluded,
    Event,
    ProgramRead,
    Proposed,
    RunEnded,
)
from agent.campaign.journal import Journal, read_events
from agent.campaign.lock import JournalBusy, JournalError, holder

WRITER = """
import sys
from pathlib import Path
from agent.campaign.events import ProgramRead
from agent.campaign.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(10**9):
    journal.append(ProgramRead(sha256=str(i), text="x" * 5000))
    print(i, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaigns/t/journal.jsonl"


def python(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def ended(reason: str = "asked to stop") -> RunEnded:
    """An event to write where it does not matter which one it is."""
    return RunEnded(reason=reason)


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, RunEnded)]


def test_append_returns_what_read_returns(path: Path) -> None:
    with Journal(path) as journal:
        gain: Any = np.float64(0.004)
        told = "line one\nline two ± \udc80 \u2028"
        written = [
            journal.append(CampaignBegun(settings={"tag": "t", "seed": 0, "budget": None})),
            journal.append(verdict(gain=gain)),
            journal.append(Proposed(trial=0, proposer="llm", reply=told, usage={"input": None})),
        ]
        assert read_events(path) == written
    assert [event.n for event in written] == [0, 1, 2]
    assert written[0].time <= written[1].time
    assert path.read_bytes().count(b"\n") == 3
    with Journal(path) as journal:
        assert journal.torn is None
        assert journal.append(ended()).n == 3


def verdict(**numbers: Any) -> Concluded:
    return Concluded(trial=1, verdict="revert", words="worse", status="ok", **numbers)


def test_nothing_there(path: Path) -> None:
    assert read_events(path) == []
    assert holder(path) is None
    assert not path.parent.exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, "much", None, {}])
def test_a_value_that_a_field_cannot_have(value: Any) -> None:
    with pytest.raises(ValidationError, match="seconds"):
        verdict(seconds=value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {"deep": [-math.inf]}, object(), np.float32(1), {(1, 2): 3}]
)
def test_a_value_that_json_does_not_have(value: object, path: Path) -> None:
    with Journal(path) as journal:
        journal.append(ended("first"))
        with pytest.raises(JournalError, match="'campaign' cannot be written as JSON"):
            journal.append(CampaignBegun(settings={"budget": value}))
        assert journal.append(ended("second")).n == 1
    assert reasons(read_events(path)) == ["first", "second"]


# --- one writer at a time


@pytest.mark.process
def test_second_writer_is_told_who_is_first(path: Path) -> None:
    writer = python(WRITER, str(path))
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        assert holder(path) == writer.pid
        with pytest.raises(JournalBusy, match=str(writer.pid)) as caught:
            Journal(path)
        assert caught.value.pid == writer.pid
        assert holder(path) == writer.pid
    finally:
        writer.kill()
        writer.communicate()
    assert holder(path) is None


def test_lock_within_one_process_and_after_close(path: Path) -> None:
    with Journal(path) as journal:
        assert holder(path) == os.getpid()
        with pytest.raises(JournalBusy):
            Journal(path)
        assert holder(path) == os.getpid()
        journal.append(ended("still mine"))
    assert holder(path) is None
    with pytest.raises(JournalError, match="closed"):
        journal.append(ended("late"))
    journal.close()


def test_a_child_does_not_keep_the_lock(path: Path) -> None:
    with Journal(path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    try:
        assert holder(path) is None
        Journal(path).close()
    finally:
        child.communicate()


def test_asking_for_the_holder_keeps_no_writer_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(path).close()
    with path.with_name("journal.jsonl.lock").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr("time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
            Journal(path).close()


def test_two_may_ask_at_once_and_a_dead_writer_is_none(path: Path) -> None:
    Journal(path).close()
    with path.with_name("journal.jsonl.lock").open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_SH)
        assert holder(path) is None


def test_asking_needs_no_leave_to_write(path: Path) -> None:
    Journal(path).close()
    asked: list[str] = []
    lock = path.with_name("journal.jsonl.lock")
    real = Path.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda p, mode="r", **kw: asked.append(mode) or real(p, mode))
        assert holder(path) is None
    assert asked == ["rb"]
    lock.unlink()
    assert holder(path) is None


def test_holder_waits_for_the_writers_signature(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(path).close()
    lock = path.with_name("journal.jsonl.lock")
    lock.write_text("")
    with lock.open() as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        with pytest.raises(JournalError, match="names no process"):
            holder(path)
        monkeypatch.setattr("time.sleep", lambda _: lock.write_text("4711\n"))
        assert holder(path) == 4711


def test_threads_of_the_writer_take_turns(path: Path) -> None:
    with Journal(path) as journal:
        threads = [
            threading.Thread(target=lambda: [journal.append(ended("x")) for _ in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [event.n for event in read_events(path)] == list(range(80))


# --- cut off


@pytest.mark.process
def test_killed_while_writing(path: Path) -> None:
    writer = python(WRITER, str(path))
    assert writer.stdout is not None
    for line in writer.stdout:
        if line == "20\n":
            break
    writer.send_signal(signal.SIGKILL)
    acknowledged = [int(line) for line in writer.communicate()[0].split()]
    last = max([20, *acknowledged])
    events = read_events(path)
    numbers = [int(event.sha256) for event in events if isinstance(event, ProgramRead)]
    assert numbers[: last + 1] == list(range(last + 1))
    with Journal(path) as journal:
        assert journal.append(ended("resumed")).n == len(events)


@pytest.mark.parametrize("cut", [1, 2, 10, 30])
def test_torn_last_line_is_set_aside(path: Path, cut: int) -> None:
    with Journal(path) as journal:
        first = journal.append(ended("one"))
        journal.append(ended("two"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert read_events(path) == [first]
    with Journal(path) as journal:
        assert journal.torn is not None
        assert journal.torn.name.startswith("journal.jsonl.torn-")
        assert path.read_bytes() + journal.torn.read_bytes() == whole[:-cut]
        second = journal.append(ended("again"))
    assert read_events(path) == [first, second] and second.n == 1


def test_two_torn_lines_in_one_second_are_both_kept(path: Path) -> None:
    torn = set()
    for tail in (b"first", b"second"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tail)
        with Journal(path) as journal:
            assert journal.torn is not None
            torn.add(journal.torn.read_bytes())
    assert torn == {b"first", b"second"}
    assert len(list(path.parent.glob("*.torn-*"))) == 2


def test_holes_in_the_last_line_after_a_power_cut(path: Path) -> None:
    with Journal(path) as journal:
        first = journal.append(ended("one"))
    with path.open("ab") as file:
        file.write(b"\0" * 100 + b'"}\n')
    assert read_events(path) == [first]
    with Journal(path) as journal:
        assert journal.torn is not None
        assert journal.torn.read_bytes() == b"\0" * 100 + b'"}\n'


@pytest.mark.parametrize("broken", [b"{", b"", b"[1]", b"\xff", b"\0" * 9])
def test_a_corrupt_line_in_the_middle_is_named(path: Path, broken: bytes) -> None:
    with Journal(path) as journal:
        for name in ("one", "two", "three"):
            journal.append(ended(name))
    lines = path.read_bytes().splitlines()
    content = b"\n".join([lines[0], broken, lines[2], b""])
    path.write_bytes(content)
    for action in (read_events, Journal):
        with pytest.raises(JournalError, match="line 2") as caught:
            action(path)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert holder(path) is None


# --- disks and people


FULL = """
import json, resource, sys
from pathlib import Path
from agent.campaign.events import RunEnded
from agent.campaign.journal import Journal, JournalError, read_events
path = Path(sys.argv[1])
journal = Journal(path)
first = journal.append(RunEnded(reason="one"))
limit = path.stat().st_size + 100
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
try:
    journal.append(RunEnded(reason="x" * 1000))
except JournalError as error:
    message = str(error)
left = path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
second = journal.append(RunEnded(reason="two"))
print(json.dumps([message, left.decode(), read_events(path) == [first, second], second.n]))
"""


@pytest.mark.process
def test_a_full_disk_leaves_whole_lines(path: Path) -> None:
    process = python(FULL, str(path))
    out, err = process.communicate()
    assert process.returncode == 0, err
    message, left, same, n = json.loads(out)
    assert str(path) in message and "too large" in message and "free space" in message
    assert "\n" not in message
    assert left.count("\n") == 1 and left.endswith("\n")
    assert same and n == 1


def test_a_disk_that_fails_for_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        first = journal.append(ended("one"))

        def fail(*args: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as broken:
            broken.setattr("os.fsync", fail)
            broken.setattr("os.ftruncate", fail)
            with pytest.raises(JournalError, match=r"Input/output error.*could not be removed"):
                journal.append(ended("two"))
        with pytest.raises(JournalError, match="closed"):
            journal.append(ended("three"))
    assert read_events(path)[0] == first


def test_every_append_is_synced_before_it_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(path) as journal:
        synced: list[bytes] = []
        monkeypatch.setattr("os.fsync", lambda fd: synced.append(path.read_bytes()))
        journal.append(ended("one"))
        assert synced == [path.read_bytes()]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "journal.jsonl").mkdir()
    for bad in (tmp_path / "file/journal.jsonl", tmp_path / "journal.jsonl", Path("/proc/x/j")):
        with pytest.raises(JournalError, match="could not be opened") as caught:
            Journal(bad)
        assert str(bad) in str(caught.value)
    with pytest.raises(JournalError, match="cannot be read"):
        read_events(tmp_path / "journal.jsonl")


def test_a_journal_removed_or_changed_under_its_writer(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(ended("one"))
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(JournalError, match="No such file"):
            journal.append(ended("two"))
        path.write_bytes(content)
        with pytest.raises(JournalError, match="replaced or changed"):
            journal.append(ended("two"))
    with Journal(path) as journal:
        with path.open("ab") as file:
            file.write(content)
        with pytest.raises(JournalError, match="replaced or changed"):
            journal.append(ended("two"))
