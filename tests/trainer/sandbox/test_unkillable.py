"""A process that the kernel does not end: nobody waits for it for ever; the next training runs.

What waits for a device cannot be made at will. The same is seen of a process that another traces:
killed, it stays among its parent's children until the tracer, here the test, has looked at it.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.measure import MACHINE, heat, measure
from trainer.sandbox import client, tree
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.client import ForkServer, ServerDied
from trainer.sandbox.wire import Channel
from trainer.training import machine

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="traces a process"),
]

IMPATIENT = "impatient_server"  # beside this file
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
PTRACE_SEIZE = 0x4206
WAIT_ALL = 0x40000000


@pytest.fixture
def hold() -> Iterator[Callable[[int], None]]:
    """Makes a process stay where it is when it is killed, until the test is over."""
    held: list[int] = []

    def seize(pid: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(PTRACE_SEIZE, pid, None, None) != 0:
            pytest.skip(f"may not trace: {os.strerror(ctypes.get_errno())}")
        held.append(pid)

    yield seize
    for pid in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, WAIT_ALL)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fork servers that wait one second for what they have killed."""
    MACHINE.close()
    usual = client.environment()
    path = os.pathsep.join([usual["PYTHONPATH"], str(Path(__file__).parent)])
    monkeypatch.setattr(client, "environment", lambda: {**usual, "PYTHONPATH": path})
    monkeypatch.setattr(machine, "PROGRAM", IMPATIENT)
    yield
    MACHINE.close()


def below(server: ForkServer) -> list[int]:
    return [process.pid for process in tree.below(server.pid)]


@pytest.mark.slow
def test_the_server_names_it_and_is_given_up(impatient: None, hold: Callable[[int], None]) -> None:
    server = ForkServer(IMPATIENT)
    channel, theirs = Channel.pair()
    with theirs:
        pid = server.spawn("train", [theirs.fileno()])
    hold(pid)

    with pytest.raises(ServerDied, match=rf"process {pid} \(.*still there 1 s after SIGKILL"):
        server.kill()

    assert not server.alive()
    own = psutil.Process(server.pid)
    server.close()
    own.wait(60)
    channel.close()


def test_a_training_is_named_at_its_end_and_the_next_one_runs(
    tiny_source: str, impatient: None, hold: Callable[[int], None]
) -> None:
    stuck: list[int] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "log" and not stuck:
            stuck.extend(below(MACHINE.server()))
            hold(stuck[0])

    ended = measure(tiny_source, budget="0.5s", on_event=hear, **CPU)
    again = measure(tiny_source, budget="2000tok", **CPU)

    assert ended.status == "crashed"
    assert ended.reason.startswith(f"crash: process {stuck[0]} ("), ended.reason
    assert (again.status, again.reason) == ("ok", "")


@pytest.mark.slow
def test_a_training_of_a_heat_that_can_neither_be_stopped_nor_killed(
    tiny_source: str,
    impatient: None,
    hold: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck: list[int] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "log" and event["training"] == 1 and not stuck:
            stuck.extend(below(MACHINE.servers(2)[1]))
            hold(stuck[0])

    def freeze(group: Cgroup, deadline: float) -> set[int]:
        if stuck:
            raise TimeoutError("the control group does not freeze")
        return set()  # then each process is stopped

    monkeypatch.setattr(Cgroup, "freeze", freeze)
    for one in heat([tiny_source] * 2, budget="0.5s", on_event=hear, **CPU):
        assert one.status == "crashed"
        assert one.reason.startswith(f"crash: process {stuck[0]} ("), one.reason


@pytest.mark.slow
def test_a_process_of_scoring_that_cannot_be_killed(
    tiny_source: str, impatient: None, hold: Callable[[int], None]
) -> None:
    stuck: list[int] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "scoring" and not stuck:
            _, *answering = sorted(below(MACHINE.server()))
            stuck.extend(answering)
            hold(answering[0])

    scored = measure(tiny_source, budget="2000tok", on_event=hear, **CPU)
    again = measure(tiny_source, budget="2000tok", **CPU)

    assert scored.status == "crashed"
    assert scored.reason.startswith(f"crash: process {stuck[0]} ("), scored.reason
    assert (again.status, again.reason) == ("ok", "")
