"""The journal: append-only events, one JSON object per line, each on disk before its effect.

The journal is the source of truth about a campaign; everything else is a fold over it. So it holds
complete events only: a partial line, left by a kill or a full disk, is removed and saved beside the
journal. One process writes at a time; readers need no lock. ``lines`` says how a line looks.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import Self, TypeVar

from agent.campaign.events import Event
from agent.campaign.files import MEND, sync_folder
from agent.campaign.happened import Happened
from agent.campaign.lines import START, JournalError, Place, Reader, write_line
from agent.campaign.lock import WriterLock

E = TypeVar("E", bound=Happened)


class Journal:
    """The only writer of a journal file; creates the file if it does not exist.

    ``events`` are those that it held from ``place`` on when it was opened, ``place`` is then behind
    the last one. ``torn`` is the file to which a broken last line was moved, None if the line was
    complete.

    Raises:
        JournalBusy: another process (or another ``Journal`` in this one) is writing.
        JournalError: the file cannot be opened or repaired, or a line before the last is corrupt.
    """

    def __init__(self, path: Path, place: Place = START) -> None:
        self.path, self.place = path, place
        self.events: list[Event] = []
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
        reader = Reader(self.path, self.place)
        self.events = list(reader)
        self.place = reader.place
        if tail := os.pread(self._fd, os.fstat(self._fd).st_size, self.place.size):
            self.torn = _set_aside(self.path, tail)
            os.ftruncate(self._fd, self.place.size)
        os.fsync(self._fd)
        sync_folder(self.path.parent)

    def append(self, event: E) -> E:
        """Write one event to disk, then return it as ``read_events`` will.

        Sets its ``time`` and its ``n`` (0, 1, 2, ... within the journal).

        Raises:
            JournalError: a value that JSON cannot express (NaN, infinity, an object), a full or
                read-only disk, a journal that was closed, or that another process removed or
                changed. Then nothing is written: the file ends with the last complete line.
        """
        with self._mutex:
            written = event.model_copy(update={"n": self.place.n + 1, "time": time.time()})
            line = write_line(written)
            self._check_unchanged()
            self._write(line)
            form = getattr(written, "format", self.place.form)
            self.place = self.place.after(line, written.n, form)
        return written

    def _check_unchanged(self) -> None:
        if self._fd < 0:
            raise JournalError(f"{self.path} is closed")
        mine = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except OSError as error:
            raise _unwritable(self.path, "found again", error) from error
        if (named.st_dev, named.st_ino, named.st_size) != (
            mine.st_dev,
            mine.st_ino,
            self.place.size,
        ):
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
                os.ftruncate(self._fd, self.place.size)
                os.fsync(self._fd)
            except OSError as second:
                # The partial line stays; the next writer moves it away, and readers skip it.
                error.add_note(f"and the unfinished line could not be removed: {second}")
                self._close_file()
            raise _unwritable(self.path, "written", error) from error

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
        JournalError: the file cannot be read, or a line before the last is damaged.
    """
    return list(Reader(path))


def is_begun(path: Path) -> bool:
    """Whether there is an event in a journal, or what may have been one."""
    try:
        return next(iter(Reader(path)), None) is not None
    except JournalError:
        return True


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


def _unwritable(path: Path, what: str, error: OSError) -> JournalError:
    notes = "; ".join(getattr(error, "__notes__", ()))
    told = f"{error.strerror or error}{'; ' + notes if notes else ''}"
    return JournalError(f"{path} could not be {what}: {told}; {MEND}")
