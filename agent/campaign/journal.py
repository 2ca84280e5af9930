"""The journal: append-only events, one JSON object per line, each on disk before its effect.

The journal is the source of truth about a campaign; everything else is a fold over it. So it holds
complete events only: a partial line, left by a kill or a full disk, is removed and saved beside the
journal. One process writes at a time; readers need no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LOCK_ATTEMPTS = 20
LOCK_PAUSE_SECONDS = 0.01


class JournalError(Exception):
    """An event could not be written or read; the message says what, where and what to do."""


class JournalBusy(JournalError):
    """Another process is writing this journal.

    ``pid`` is its process id, None when it could not be read.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(
            f"{path} is being written by process {pid or '(unknown)'}: wait for it, stop it, "
            "or use another --tag"
        )
        self.pid = pid


class Journal:
    """The only writer of a journal file; creates the file if it does not exist.

    The lock is an advisory ``flock`` on ``<name>.lock``, which the kernel releases when this
    process ends for any reason. Descriptors are closed on ``exec``, so no child keeps the lock.

    ``torn`` is the file to which a broken last line was moved when the journal was opened, None
    if the line was complete.

    Raises:
        JournalBusy: another process (or another ``Journal`` in this one) is writing.
        JournalError: the file cannot be opened or repaired, or a line before the last is corrupt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn: Path | None = None
        self._mutex = threading.Lock()
        self._fd = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(path, "opened for writing", error) from error
        try:
            self._take_lock()
            self._open()
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        if not _flock(self._lock_fd, fcntl.LOCK_EX):
            raise JournalBusy(self.path, _read_pid(self._lock_fd))
        try:
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            raise _unwritable(_lock_path(self.path), "written", error) from error

    def _open(self) -> None:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o644)
            content = self.path.read_bytes()
            events, whole = _parse(content, self.path)
            if whole < len(content):
                self.torn = _set_aside(self.path, content[whole:])
                os.ftruncate(self._fd, whole)
            os.fsync(self._fd)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, "opened for writing", error) from error
        self._size = whole
        last = events[-1].get("n") if events else None
        self._next = (last if isinstance(last, int) else len(events) - 1) + 1

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Write one event to disk, then return it as ``read_events`` will.

        Adds ``event``, ``time`` (unix seconds) and ``n`` (0, 1, 2, ... within the journal).

        Raises:
            JournalError: a value that JSON cannot express (NaN, infinity, an object), a full or
                read-only disk, a journal that was closed, or that another process removed or
                changed. Then nothing is written: the file ends with the last complete line.
        """
        with self._mutex:
            record = {"n": self._next, "time": time.time(), "event": event}
            if reserved := sorted(record.keys() & fields.keys()):
                raise JournalError(f"event {event!r}: the journal itself sets {reserved[0]!r}")
            text = _dump(event, record | fields)
            self._check_unchanged()
            self._write(text.encode("ascii") + b"\n")
            self._next += 1
        written: dict[str, Any] = json.loads(text)
        return written

    def _check_unchanged(self) -> None:
        if self._fd < 0:
            raise JournalError(f"{self.path} is closed")
        mine = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except OSError as error:
            raise _unwritable(self.path, "found again", error) from error
        if (named.st_dev, named.st_ino, named.st_size) != (mine.st_dev, mine.st_ino, self._size):
            raise JournalError(
                f"{self.path} was replaced or changed while this process was writing it: put it "
                "back as it was, or run again to go on from what it holds now"
            )

    def _write(self, line: bytes) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError as error:
            try:
                os.ftruncate(self._fd, self._size)
                os.fsync(self._fd)
            except OSError as second:
                # The partial line stays; the next writer moves it away, and readers skip it.
                error.add_note(f"and the unfinished line could not be removed: {second}")
                self._close_file()
            raise _unwritable(self.path, "written", error) from error
        self._size += len(line)

    def close(self) -> None:
        """Release the lock. A second call does nothing."""
        self._close_file()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every complete event, oldest first, without a torn last line; none if the file is missing.

    Raises:
        JournalError: the file cannot be read, or a line before the last is corrupt.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
    return _parse(content, path)[0]


def holder(path: Path) -> int | None:
    """Process id of the live writer of the journal at ``path``, None when nobody writes it.

    Raises:
        JournalError: the lock file cannot be read, or it is locked but names no process.
    """
    try:
        fd = os.open(_lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{_lock_path(path)} cannot be read: {error.strerror}") from error
    try:
        for _ in range(LOCK_ATTEMPTS):
            if _flock(fd, fcntl.LOCK_SH, attempts=1):
                return None
            if (pid := _read_pid(fd)) is not None:
                return pid
            time.sleep(LOCK_PAUSE_SECONDS)  # a writer has the lock but has not written its id yet
    finally:
        os.close(fd)
    raise JournalError(f"{_lock_path(path)} is locked, but names no process")


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _flock(fd: int, kind: int, attempts: int = LOCK_ATTEMPTS) -> bool:
    """Whether the lock was taken; retries, because ``holder`` also takes it for a moment."""
    for attempt in range(attempts):
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < attempts:
                time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0)
    return int(text) if text.endswith(b"\n") and text.strip().isdigit() else None


def _parse(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Events, and how many bytes the complete lines take.

    Only the last line can be torn, since each append is synced before the next begins. It then has
    no line feed, or (after a power cut) it has one but lacks other bytes.
    """
    *lines, tail = content.split(b"\n")
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        event = _event(line)
        if event is not None:
            events.append(event)
        elif number == len(lines) and not tail:
            tail = line + b"\n"
        else:
            raise JournalError(
                f"{path} line {number} is not an event: {line[:60]!r}; restore the file from a "
                "copy, or remove that line if you know what it was"
            )
    return events, len(content) - len(tail)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _dump(event: str, record: dict[str, Any]) -> str:
    # ASCII, because model-written text may hold lone surrogates, which UTF-8 cannot encode.
    try:
        return json.dumps(record, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        name = next((name for name, value in record.items() if not _has_json(value)), "?")
        raise JournalError(
            f"event {event!r}: field {name!r} cannot be written as JSON: {error}"
        ) from error


def _has_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _set_aside(path: Path, tail: bytes) -> Path:
    """Write the broken tail to a new file beside the journal, and sync it before it is removed."""
    base = f"{path.name}.torn-{int(time.time())}"
    for attempt in range(1000):
        target = path.with_name(f"{base}.{attempt}" if attempt else base)
        try:
            with target.open("xb") as file:
                file.write(tail)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            continue
        return target
    raise JournalError(f"{path}: too many {base} files; move them away")


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that the name of a new file is on disk like its content."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unwritable(path: Path, what: str, error: OSError) -> JournalError:
    notes = "; ".join(getattr(error, "__notes__", ()))
    return JournalError(
        f"{path} could not be {what}: {error.strerror or error}{'; ' + notes if notes else ''}; "
        "free space or make the folder writable, then run again: the campaign goes on from the "
        "last event"
    )
