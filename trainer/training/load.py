"""How much processor time other programs used while a training ran.

On a busy machine a wall-clock budget allows fewer steps, so the score also depends on other
programs. The parent takes the processor time of all processes, less that of its own processes.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil

IDLE = 0.1
"""Share of the processors; if more of them are idle, no process had to wait for one."""


@dataclass(frozen=True)
class Reading:
    """In seconds: the clock, the busy time of all processors, the part of it for our processes."""

    clock: float
    busy: float
    ours: float


def read(server_pid: int) -> Reading:
    """Take a reading; ``server_pid`` is the fork server, below which trainings run."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # part of user, nice
    ours = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(server_pid)
        for process in (psutil.Process(), server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                ours += sum(process.cpu_times()[:4])  # user, system, and those of reaped children
    return Reading(time.monotonic(), sum(times) - idle - guests, ours)


def share(before: Reading, after: Reading) -> float:
    """Share of all processors, in [0, 1], that other programs used between two readings.

    0 if processors were idle: then the other programs did not slow down the training.
    """
    capacity = (after.clock - before.clock) * (psutil.cpu_count() or 1)
    busy = after.busy - before.busy
    if capacity <= 0 or busy < (1 - IDLE) * capacity:
        return 0.0
    return min(1.0, max(0.0, (busy - (after.ours - before.ours)) / capacity))
