"""The lock of a journal: one process writes at a time, and the lock's file says which."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from filelock import FileLock, Timeout

from agent.campaign.lines import JournalError
from trainer.sandbox import owner
from trainer.sandbox.owner import Owner

LOCK_SECONDS = 0.2
"""For so long a writer waits for the lock, which ``holder`` also takes for a moment, and ``holder``
for the id of a writer that has just taken it."""


class JournalBusy(JournalError):
    """Another process is writing this journal.

    ``pid`` is its process id, None when it could not be read.
    """

    def __init__(self, path: Path) -> None:
        self.pid, writer = _signature(path)
        named = f"process {self.pid or '(unknown)'}"
        if writer is not None and writer.is_dead:
            why = (
                f"{_lock_path(path)} is locked by something that {named}, which has ended, left "
                f"behind: find it with fuser -v {_lock_path(path)} and end it"
            )
        else:
            if writer is not None and not writer.is_local:
                named += " of another machine or container"
            why = f"{path} is being written by {named}: wait for it, stop it"
        super().__init__(f"{why}, or use another --tag")


class WriterLock:
    """An advisory lock on ``<name>.lock``, which holds the writer's process id and ``Owner``.

    The kernel releases it when the process ends for any reason; no program that it starts inherits
    it.
    """

    def __init__(self, path: Path) -> None:
        """``path``: of the journal."""
        self._path = path
        self._lock = FileLock(_lock_path(path), timeout=LOCK_SECONDS, poll_interval=0.01)

    def acquire(self) -> None:
        """Take the lock and sign it.

        Raises:
            JournalBusy: another process (or another lock in this one) has it.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise JournalBusy(self._path) from None
        writer = owner.this_process()
        _lock_path(self._path).write_text(f"{writer.pid} {writer}\n")

    def release(self) -> None:
        self._lock.release()


def holder(path: Path) -> int | None:
    """Process id of the live writer of the journal at ``path``, None when nobody writes it.

    Raises:
        JournalError: the lock file cannot be read, or it is locked but names no process.
    """
    lock_path = _lock_path(path)
    deadline = time.monotonic() + LOCK_SECONDS
    pid, writer = None, None
    try:
        with lock_path.open("rb") as lock:  # filelock needs to write, and keeps other readers out
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return None
                except BlockingIOError:
                    pid, writer = _signature(path)
                    if pid is not None and not (writer is not None and writer.is_dead):
                        return pid
                    time.sleep(0.01)  # a writer has the lock but has not signed it yet
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{lock_path} cannot be read: {error.strerror}") from error
    if writer is not None:  # what a dead writer started has it, and writes nothing
        return None
    raise JournalError(f"{lock_path} is locked, but names no process")


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _signature(path: Path) -> tuple[int | None, Owner | None]:
    """Who signed the lock; earlier versions wrote a process id alone."""
    text = _lock_path(path).read_text(errors="replace")
    pid, _, rest = text.strip().partition(" ")
    whole = text.endswith("\n") and pid.isascii() and pid.isdigit()
    return (int(pid), owner.parse(rest)) if whole else (None, None)
