"""Kills a ``command:`` program and all processes that it started, if the agent is killed.

Run by path, beside each program, with the program's mark as its argument, so that nothing else of
the agent is loaded. Its standard input is a pipe on which the agent sends the program's process id,
and which closes when the agent ends for any reason. When the program is done, the agent kills this.
"""

from __future__ import annotations

import contextlib
import sys
import time

import psutil

MARK = "AUTORESEARCH_COMMAND"
"""Environment variable that marks the program and all that it starts, to find them again."""
_KILL_SECONDS = 10.0
_KILL_POLL_SECONDS = 0.02


def main(mark: str) -> None:
    """Wait for the end of the agent, then kill the program."""
    root = None
    with contextlib.suppress(ValueError, psutil.NoSuchProcess):
        root = psutil.Process(int(sys.stdin.readline()))
    sys.stdin.read()
    kill(root, mark)


def kill(root: psutil.Process | None, mark: str) -> None:
    """Kill a program and all that it started, including those that left its session.

    Args:
        root: the program; None if it is not known.
        mark: see ``MARK``.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline and (left := _left(root, mark)):
        for victim in left:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        time.sleep(_KILL_POLL_SECONDS)


def _left(root: psutil.Process | None, mark: str) -> list[psutil.Process]:
    """The live ones among the program, its descendants, and the processes with the mark."""
    found = []
    if root is not None:
        with contextlib.suppress(psutil.Error):
            found += [root, *root.children(recursive=True)]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            if process.environ().get(MARK) == mark:
                found.append(process)
    return [process for process in found if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
