"""The lock of a journal: one process writes at a time, and the lock's file says which."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from agent.campaign.lines import JournalError
from trainer.sandbox import owner
from trainer.sandbox.owner import Owner

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What locking says on a file system that has no locks, as some of clusters."""
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
                named += (
                    f" of another machine or container (if that has ended, delete "
                    f"{_lock_path(path)})"
                )
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
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock and sign it.

        Raises:
            JournalBusy: another process (or another lock in this one) has it.
        """
        fd = os.open(_lock_path(self._path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while not _take(fd, fcntl.LOCK_EX, self._path):
                if time.monotonic() > deadline:
                    raise JournalBusy(self._path)
                time.sleep(0.01)
            writer = owner.this_process()
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{writer.pid} {writer}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # only where there are no locks does it matter
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _take(fd: int, how: int, path: Path) -> bool:
    """Try to lock. Without locks the signature decides; if two start at the same moment, one is
    told at its next event that the journal was changed."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _, writer = _signature(path)
        return writer is None or writer.is_dead
    return True


def holder(path: Path) -> int | None:
    """Process id of the live writer of the journal at ``path``, None when nobody writes it.

    Raises:
        JournalError: the lock file cannot be read, or it is locked but names no process.
    """
    lock_path = _lock_path(path)
    deadline = time.monotonic() + LOCK_SECONDS
    pid, writer = None, None
    try:
        with lock_path.open("rb") as lock:
            while time.monotonic() < deadline:
                if _take(lock.fileno(), fcntl.LOCK_SH, path):
                    return None
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


def is_held_by(path: Path, owner: str) -> bool:
    """Whether the live writer of the journal at ``path`` is the process that ``owner`` names.

    Raises:
        JournalError: as of ``holder``.
    """
    return holder(path) is not None and str(_signature(path)[1]) == owner


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _signature(path: Path) -> tuple[int | None, Owner | None]:
    """Who signed the lock; earlier versions wrote a process id alone."""
    text = _lock_path(path).read_text(errors="replace")
    pid, _, rest = text.strip().partition(" ")
    whole = text.endswith("\n") and pid.isascii() and pid.isdigit()
    return (int(pid), owner.parse(rest)) if whole else (None, None)
