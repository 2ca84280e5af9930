"""The journal: append-only events, one JSON object per line, each on disk before its effect.

The journal is the source of truth about a campaign; everything else is a fold over it. So it holds
complete events only: a partial line, left by a kill or a full disk, is removed and saved beside the
journal. One process writes at a time; readers need no lock.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from agent.campaign.events import Event, Happened, read_event
from agent.campaign.lock import JournalError, WriterLock

E = TypeVar("E", bound=Happened)


class Journal:
    """The only writer of a journal file; creates the file if it does not exist.

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
        self._lock = WriterLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._open()
        except OSError as error:
            self.close()
            raise _unwritable(path, "opened for writing", error) from error
        except JournalError:
            self.close()
            raise

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o644)
        content = self.path.read_bytes()
        events, self._size = _parse(content, self.path)
        if self._size < len(content):
            self.torn = _set_aside(self.path, content[self._size :])
            os.ftruncate(self._fd, self._size)
        os.fsync(self._fd)
        _sync_folder(self.path.parent)
        self._next = events[-1].n + 1 if events else 0

    def append(self, event: E) -> E:
        """Write one event to disk, then return it as ``read_events`` will.

        Sets its ``time`` and its ``n`` (0, 1, 2, ... within the journal).

        Raises:
            JournalError: a value that JSON cannot express (NaN, infinity, an object), a full or
                read-only disk, a journal that was closed, or that another process removed or
                changed. Then nothing is written: the file ends with the last complete line.
        """
        with self._mutex:
            written = event.model_copy(update={"n": self._next, "time": time.time()})
            line = _dump(written)
            self._check_unchanged()
            self._write(line)
            self._next += 1
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
        self._lock.release()

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: Path) -> list[Event]:
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


def _parse(content: bytes, path: Path) -> tuple[list[Event], int]:
    """Events, and how many bytes the complete lines take.

    Only the last line can be torn, since each append is synced before the next begins. It then has
    no line feed, or (after a power cut) it has one but lacks other bytes.
    """
    *lines, tail = content.split(b"\n")
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        stored = _object(line)
        if stored is None and number == len(lines) and not tail:
            tail = line + b"\n"
            break
        try:
            events.append(read_event(stored))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            why = f"{where}: {first['msg'].lower()}; a newer version may have written it"
            raise JournalError(
                f"{path} line {number} is not an event: {line[:60]!r} "
                f"({'not JSON' if stored is None else why}); restore the file from a copy, or "
                "remove that line if you know what it was"
            ) from None
    return events, len(content) - len(tail)


def _object(line: bytes) -> Mapping[str, Any] | None:
    """What a line says, None if it is no JSON object."""
    try:
        stored = json.loads(line)
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


def _dump(event: Happened) -> bytes:
    # ASCII, because model-written text may hold lone surrogates, which UTF-8 cannot encode.
    values = event.model_dump()
    try:
        return json.dumps(values, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(
            f"event {values['event']!r} cannot be written as JSON: {error}"
        ) from error


def _set_aside(path: Path, tail: bytes) -> Path:
    """Write the broken tail to a new file beside the journal, and sync it before it is removed."""
    base = f"{path.name}.torn-{int(time.time())}"
    names = (f"{base}.{attempt}" if attempt else base for attempt in itertools.count())
    target = next(free for name in names if not (free := path.with_name(name)).exists())
    with target.open("xb") as file:  # only this process writes here: it has the lock
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())
    return target


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
