"""A neighbour: other programs on the same machine, played by a seeded plan so that it can recur.

It takes none to all of two cores for 1 to 20 seconds at a time, with busy loops in processes of its
own. They end with the context, however that ends, and with the process that opened it.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CORES = 2
SHORTEST, LONGEST = 1.0, 20.0
"""Seconds for which the number of busy cores stays the same; their logarithm is uniform."""
SLICE = 0.02
"""Seconds between two looks at whether the parent is still there."""


def plan(seed: str) -> Iterator[tuple[int, float]]:
    """How many cores are busy, and for how many seconds, without end; begins within a stretch."""
    dice = random.Random(f"neighbour: {seed}")
    share = dice.random()
    while True:
        cores = dice.randint(0, CORES)
        seconds = math.exp(dice.uniform(math.log(SHORTEST), math.log(LONGEST)))
        yield cores, share * seconds
        share = 1.0


@contextlib.contextmanager
def neighbour(seed: str) -> Iterator[list[int]]:
    """Run the plan of ``seed`` while the context lasts; gives the ids of the processes."""
    command = [sys.executable, "-m", "benchmarks.neighbour", seed, str(time.monotonic())]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for core in range(CORES):
            processes.append(
                subprocess.Popen(
                    [*command, str(core), str(os.getpid())],
                    cwd=Path(__file__).parent.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in the terminal is its parent's to handle
                )
            )
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def take_turns(seed: str, began: float, core: int, parent: int) -> None:
    """Keep one core busy whenever the plan wants more than ``core`` of them."""
    end = began
    for cores, seconds in plan(seed):
        end += seconds
        while (now := time.monotonic()) < end:
            if os.getppid() != parent:
                return
            until = min(end, now + SLICE)
            if core < cores:
                while time.monotonic() < until:
                    pass
            else:
                time.sleep(until - now)


if __name__ == "__main__":
    take_turns(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
