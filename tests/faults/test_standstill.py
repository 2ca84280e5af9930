"""A heat during which the machine was suspended is void; only the clock is faked here."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.errors import UserError
from trainer.measure import heat
from trainer.results import ScoringResult
from trainer.training import standstill
from trainer.training.job import Trained
from trainer.training.standstill import Measured, Standstill, undisturbed

OK: Measured = ([Trained("ok")], [ScoringResult("ok", "")])
OUTSIDE: Measured = ([Trained("oom", "memory", outside=True)], [ScoringResult("oom", "memory")])

LATE: Measured = ([Trained("overtime", "late")], [ScoringResult("overtime", "late")])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its one entry is the time."""
    now = [100.0]
    monkeypatch.setattr(standstill, "since_boot", lambda: now[0])
    return now


@pytest.mark.parametrize(("asleep", "is_void"), [(0.0, False), (4.0, False), (6.0, True)])
def test_a_jump_of_the_clock_is_noticed(clock: list[float], asleep: float, is_void: bool) -> None:
    with Standstill() as seen:
        clock[0] += asleep
    assert (seen.seconds, seen.is_void) == (asleep, is_void)


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    with Standstill() as seen:
        pass
    assert not seen.is_void


@pytest.mark.parametrize(
    ("sleeps", "results", "tries", "told"),
    [
        ([0], [OK], 1, []),
        ([9, 0], [OK, OK], 2, ["suspended"]),
        ([9, 9, 0], [OK] * 3, 3, ["suspended"] * 2),
        ([0, 0], [OUTSIDE, OK], 2, ["from outside"]),
        ([0, 0, 0], [OUTSIDE] * 3, 3, ["from outside"] * 2),  # then it may be its own fault
        ([9, 0, 0], [OUTSIDE, OUTSIDE, OK], 3, ["suspended", "from outside"]),
    ],
)
def test_what_is_done_again(
    clock: list[float], sleeps: list[float], results: list[Measured], tries: int, told: list[str]
) -> None:
    left = list(zip(sleeps, results, strict=True))
    said: list[str] = []

    def once() -> Measured:
        asleep, result = left.pop(0)
        clock[0] += asleep
        return result

    found = undisturbed(once, lambda event: said.append(event["text"]), None, True)
    assert found == results[tries - 1] and not left
    assert len(said) == len(told)
    assert all(word in text for word, text in zip(told, said, strict=True))


def test_who_is_asked_to_stop_does_not_begin_again(clock: list[float]) -> None:
    cancel = threading.Event()

    def once() -> Measured:
        clock[0] += 9
        cancel.set()
        return OK

    assert undisturbed(once, None, cancel, True) == OK
    assert clock == [109.0]


def test_a_machine_that_always_stands_still_is_told(clock: list[float]) -> None:
    def once() -> Measured:
        clock[0] += 9
        return OK

    with pytest.raises(UserError, match=r"3 measurements in a row are void: .* 9 s; see"):
        undisturbed(once, None, None, True)
    assert clock == [127.0]


@pytest.mark.parametrize(("first", "tries"), [(OK, 1), (LATE, 2)])
def test_without_a_clock_it_spoils_only_what_has_failed(
    clock: list[float], first: Measured, tries: int
) -> None:
    left = [OK, first]

    def once() -> Measured:
        clock[0] += 9 if len(left) == 2 else 0
        return left.pop()

    assert undisturbed(once, None, None, False) == OK
    assert 2 - len(left) == tries


@pytest.mark.process
def test_a_suspended_heat_is_repeated_and_told(
    tiny_source: str, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = []

    def hear(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "ready" and len([e for e in events if e["event"] == "ready"]) == 1:
            clock[0] += 3600

    champion, candidate = heat(
        [tiny_source] * 2, budget="0.5s", preset="cpu", device="cpu", on_event=hear
    )
    assert (champion.status, candidate.status) == ("ok", "ok")
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert notes == ["void, and done again: the machine was suspended, or stood still for 3600 s"]
    assert len([event for event in events if event["event"] == "ready"]) == 4


STOPPED = """
import sys
from pathlib import Path
from trainer.measure import measure
from trainer.training import standstill
standstill.LONGEST_SECONDS = 1.0
def hear(event):
    if event["event"] in ("ready", "note"):
        print(event["event"], flush=True)
found = measure(Path(sys.argv[1]).read_text(), budget="3s", preset="cpu", device="cpu",
    on_event=hear)
print(found.status)
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_stopped_parent_measures_again(tiny_source: str, tmp_path: Path) -> None:
    """Ctrl-Z, a paused container or virtual machine: the training's time went on without it."""
    file = tmp_path / "train.py"
    file.write_text(tiny_source)
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(standstill.__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = standstill.since_boot()
        os.kill(process.pid, signal.SIGSTOP)
        while standstill.since_boot() - before < 2.5:
            assert psutil.pid_exists(process.pid)
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.read().split() == ["note", "ready", "ok"]
