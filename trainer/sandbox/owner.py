"""Whether the process that something belongs to still runs, and the end of what the dead have left.

A process id alone names no process: ids are used again, and in another container, or on another
machine that shares the disk, the same id is another process. So what must be found again after a
kill (scratch folders, children, the lock of a journal) carries an ``Owner``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

VARIABLE = "AUTORESEARCH_OWNER"
"""In the environment of all that a fork server starts: who started the server."""
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Owner:
    """A process, in a form that means no other one; short, because it is part of paths."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    def __str__(self) -> str:
        return "-".join(map(str, astuple(self)))

    @property
    def is_local(self) -> bool:
        """Whether its id means the same process here: not in another container, nor elsewhere."""
        return (self.host, self.boot, self.namespace) == _place()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended. Of a process elsewhere nothing is known."""
        if self.is_local:
            return started(self.pid) != self.started
        return self.host == _place()[0] and self.boot != _place()[1]


def this_process() -> Owner:
    return Owner(*_place(), os.getpid(), started(os.getpid()))


def parse(text: str) -> Owner | None:
    """The owner that ``text`` names, None if it is no owner."""
    parts = text.split("-")
    if len(parts) != 5 or not (parts[3].isascii() and parts[3].isdigit()):
        return None
    host, boot, namespace, pid, started = parts
    return Owner(host, boot, namespace, int(pid), started)


def started(pid: int) -> str:
    """When a process started, in the system's own ticks; empty if there is none, or a dead one."""
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                return str(int(100 * process.create_time()))
        return ""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if state in (b"Z", b"X") else fields[18].decode()


def namespace() -> str:
    """Id of the process namespace: in another container, process ids mean other processes."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return "0"


def kill_orphans() -> int:
    """Kill what a fork server started whose owner has ended; returns how many processes.

    A server and its supervisor leave nothing, unless both are killed at once.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := _orphans()) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        killed.update(process.pid for process in left)
        time.sleep(0.01)
    return len(killed)


def _orphans() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            owner = parse(process.environ().get(VARIABLE, ""))
            if owner is not None and owner.is_dead and process.uids().real == os.getuid():
                found.append(process)
    return found


@functools.cache
def _place() -> tuple[str, str, str]:
    """The machine, its start and the process namespace, each as a few letters."""
    machine = f"{platform.node()} {_read('/etc/machine-id')}"
    boot = _read("/proc/sys/kernel/random/boot_id")
    host, start, inside = (
        hashlib.sha256(text.encode()).hexdigest()[:6] for text in (machine, boot, namespace())
    )
    return host, start, inside


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""
