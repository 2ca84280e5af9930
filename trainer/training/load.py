"""How much of the machine went to others while a training ran.

A wall-clock budget buys fewer steps on a busy machine, so a score taken then measures the neighbour
too. The parent looks from outside: processor time spent in all, less what its own processes spent.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil

IDLE = 0.1
"""Share of the processors; with more of them idle, nobody had to wait for one."""


@dataclass(frozen=True)
class Reading:
    """Seconds: of the clock, of all processors busy with anything, of those busy with us."""

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
    """Share of all processors, in [0, 1], that others used between two readings.

    0 while processors stood idle: others were busy then, and in nobody's way.
    """
    capacity = (after.clock - before.clock) * (psutil.cpu_count() or 1)
    busy = after.busy - before.busy
    if capacity <= 0 or busy < (1 - IDLE) * capacity:
        return 0.0
    return min(1.0, max(0.0, (busy - (after.ours - before.ours)) / capacity))
