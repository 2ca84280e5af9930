"""A measurement that the death of our own processes ends says nothing of its source: once again.

The death of a process with the source's code is its own: it could kill itself for a second try.
"""

import base64
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from trainer import measure as measurements
from trainer.measure import MACHINE, Measurement
from trainer.sandbox import tree
from trainer.sandbox.client import ForkServer
from trainer.sandbox.confine import SandboxError
from trainer.training import machine
from trainer.training.job import GRACE_SECONDS, Job

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes by /proc"),
]


def measure(source: str, budget: str = "40000tok", **how: Any) -> Measurement:
    return measurements.measure(source, budget=budget, preset="cpu", device="cpu", **how)


@pytest.fixture(scope="module")
def undisturbed(tiny_source: str) -> Measurement:
    return measure(tiny_source, seed=5)


def below_server() -> int:
    return tree.usage(MACHINE.server().pid).processes


def trainings() -> list[int]:
    """The newest last: of a scoring that is the process with the model."""
    return [process.pid for process in psutil.Process(MACHINE.server().pid).children()]


def hit(find: Callable[[], int], number: int, when: str, times: int) -> Callable[[Any], None]:
    """A listener that signals a process so often, each time at that event."""
    left = [times]

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == when and left[0] > 0:
            left[0] -= 1
            os.kill(find(), number)

    return hear


@pytest.mark.parametrize(
    ("find", "number", "when", "times", "status", "reason"),
    [
        (lambda: trainings()[-1], signal.SIGKILL, "ready", 1, "oom", "memory: killed by SIGKILL"),
        (lambda: MACHINE.server().pid, signal.SIGKILL, "ready", 1, "ok", ""),
        (lambda: trainings()[-1], signal.SIGKILL, "scoring", 1, "invalid", "eval-crash: "),
        (lambda: trainings()[0], signal.SIGKILL, "scoring", 99, "crashed", "scorer: "),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (lambda: trainings()[-1], signal.SIGTERM, "ready", 9, "crashed", "crash: killed"),
                (lambda: MACHINE.server().pid, signal.SIGKILL, "ready", 9, "crashed", "crash: "),
                (lambda: MACHINE.server().process.pid, signal.SIGKILL, "ready", 1, "ok", ""),
                (lambda: trainings()[0], signal.SIGKILL, "scoring", 1, "ok", ""),  # the scorer
                (lambda: MACHINE.server().pid, signal.SIGKILL, "scoring", 1, "ok", ""),
            )
        ),
    ],
)
def test_what_comes_of_it(
    undisturbed: Measurement,
    tiny_source: str,
    find: Callable[[], int],
    number: int,
    when: str,
    times: int,
    status: str,
    reason: str,
) -> None:
    measured = measure(tiny_source, seed=5, on_event=hit(find, number, when, times))
    assert measured.status == status, measured.reason
    assert measured.reason.startswith(reason)
    if status == "ok":
        assert measured.val_bpb == undisturbed.val_bpb
        assert measured.weights_sha256 == undisturbed.weights_sha256
    assert below_server() == 0
    assert measure(tiny_source, "2000tok").status == "ok"


def test_it_is_told(tiny_source: str) -> None:
    told: list[str] = []
    kill = hit(lambda: MACHINE.server().pid, signal.SIGKILL, "ready", 1)

    def hear(event: dict[str, Any]) -> None:
        kill(event)
        if event["event"] == "note":
            told.append(event["text"])

    assert measure(tiny_source, "2000tok", on_event=hear).status == "ok"
    (text,) = told
    assert text.startswith("void, and done again: it was ended from outside")


def test_a_check_is_done_again(tiny_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a proposal would be turned down for it."""
    killed: list[int] = []
    take = measurements.train_all

    def kill_first(jobs: list[Job], *how: Any) -> Any:
        if not killed:
            server = MACHINE.server()  # asked again once it is dead, it would be the next one
            server.process.kill()
            killed.append(server.process.wait())
        return take(jobs, *how)

    monkeypatch.setattr(measurements, "train_all", kill_first)
    assert measurements.check(tiny_source, preset="cpu", device="cpu").status == "ok"


@pytest.mark.parametrize("source", ["tiny", "endless"])
def test_a_stopped_or_hanging_training_does_not_hold_up_the_night(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Stopped from outside, or in a loop that reports nothing, without a budget of time."""
    monkeypatch.setattr(Job, "wall_cap", lambda job: 2.0)
    hear = None
    if source == "tiny":
        hear = hit(lambda: trainings()[-1], signal.SIGSTOP, "ready", 1)
    else:
        tiny_source = tiny_source.replace(
            "    session.ready()\n", "    session.ready()\n    hang()\n"
        )
        tiny_source += "\ndef hang():\n    while True:\n        pass\n"
    measured = measure(tiny_source, on_event=hear)
    assert (measured.status, measured.val_bpb) == ("overtime", None)
    assert below_server() == 0


@pytest.mark.alone
def test_a_stopped_training_goes_on_in_its_next_turn(tiny_source: str) -> None:
    """In a heat its turn is cut off, and its time counts; the other one is not disturbed."""
    left = [1]

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "log" and event["training"] == 1 and left[0]:
            left[0] = 0
            (child,) = psutil.Process(MACHINE.servers(2)[1].pid).children()
            child.suspend()

    first, second = measurements.heat(
        [tiny_source, tiny_source], budget="3s", preset="cpu", device="cpu", on_event=hear
    )
    assert (first.status, second.status) == ("ok", "ok")
    clock = np.frombuffer(base64.b64decode(second.trace))
    shares = clock[(clock >= 0) & (clock <= 1)]  # what progress() said
    assert np.diff(shares).max() > GRACE_SECONDS / 3, "its time counted until its turn was cut off"


@pytest.mark.parametrize(
    ("deaths", "is_told"),
    [(2, False), (3, True)],
    ids=["started again", "told when it always dies"],
)
def test_a_server_killed_while_it_starts(
    deaths: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []

    class KilledServer(ForkServer):
        def spawn(self, role: str, fds: list[int], timeout: float = 120.0) -> int:
            if len(killed) < deaths:
                self.process.kill()
                killed.append(self.process.wait())
            return super().spawn(role, fds, timeout)

    monkeypatch.setattr(machine, "ForkServer", KilledServer)
    with contextlib.closing(machine.Machine()) as fresh:
        if is_told:
            with pytest.raises(SandboxError, match="does not start"):
                fresh.probe()
        else:
            assert fresh.probe()["device"]
    assert killed == [-signal.SIGKILL] * deaths
