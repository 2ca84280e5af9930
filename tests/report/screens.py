"""A real pseudo-terminal with somebody who looks at it: a terminal emulator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import pyte

PATIENCE_SECONDS = 200.0


class Screen:
    """What is to be seen in a terminal of ``columns`` and ``lines``."""

    def __init__(self, columns: int, lines: int) -> None:
        self.raw = b""
        """All that was written to it."""
        self.master, slave = os.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        """The end that a program writes to."""
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._mutex = threading.Lock()
        self.resize(columns, lines)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
        with self._mutex:
            self._screen.resize(lines, columns)

    @property
    def text(self) -> str:
        """Without spaces at the ends of lines."""
        with self._mutex:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def scrolled(self) -> str:
        """What has left the screen at its top, and what is on it."""
        with self._mutex:
            above = [
                "".join(line[x].data for x in range(self._screen.columns)).rstrip()
                for line in self._screen.history.top
            ]
        return "\n".join([*above, self.text])

    @property
    def hides_cursor(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def wait(self, until: Callable[[], bool]) -> None:
        """Until what was written shows what is waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def wait_for(self, *texts: str) -> None:
        self.wait(lambda: all(text in self.text for text in texts))

    def hang_up(self) -> None:
        """Close both ends, and take what was written before."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.close()
        self._reader.join(PATIENCE_SECONDS)
        with contextlib.suppress(OSError):
            os.close(self.master)

    def _read(self) -> None:
        stream = pyte.ByteStream(self._screen)
        while True:
            try:
                written = os.read(self.master, 65536)
            except OSError:  # no program has the other end
                return
            if not written:
                return
            with self._mutex:
                self.raw += written
                stream.feed(written)


@contextlib.contextmanager
def screen(columns: int, lines: int = 40) -> Iterator[Screen]:
    found = Screen(columns, lines)
    try:
        yield found
    finally:
        found.hang_up()
