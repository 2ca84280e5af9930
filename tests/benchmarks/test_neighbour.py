"""What the benchmark of heats runs beside them.

In a file of their own, so that they come last, when no other worker has to wait.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.machine import ROOT
from benchmarks.neighbour import CORES, neighbour, plan

pytestmark = [pytest.mark.alone, pytest.mark.process]


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_the_neighbour_is_gone_after_its_context_and_when_the_body_raises():
    with neighbour("a") as pids:
        assert len(pids) == CORES and all(map(psutil.pid_exists, pids))
    assert not any(map(psutil.pid_exists, pids))
    with pytest.raises(KeyboardInterrupt), neighbour("a") as pids:
        raise KeyboardInterrupt
    assert not any(map(psutil.pid_exists, pids))


def test_the_neighbour_ends_with_a_parent_that_is_killed():
    body = "print(*pids, flush=True); import time; time.sleep(100)"
    code = f"from benchmarks.neighbour import neighbour\nwith neighbour('a') as pids: {body}"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True)
    pids = list(map(int, parent.stdout.readline().split()))
    parent.kill()
    parent.communicate()
    try:
        assert len(pids) == CORES and wait_for(lambda: all(map(is_gone, pids)))
    finally:
        for pid in itertools.filterfalse(is_gone, pids):
            psutil.Process(pid).kill()


def test_the_neighbour_computes_as_its_plan_says():
    begins = {next(plan(seed)): seed for seed in map(str, range(300))}
    busy, idle = (begins[max(b for b in begins if b[0] == cores)] for cores in (2, 0))

    def used(pids):
        return [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]

    with neighbour(busy) as pids:
        assert wait_for(lambda: min(used(pids)) > 0.5, 12)
    with neighbour(idle) as pids:
        assert not wait_for(lambda: max(used(pids)) > 0.5, 1.5)
