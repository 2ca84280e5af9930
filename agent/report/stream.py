"""A text stream whose reader may disappear while a campaign continues."""

from __future__ import annotations

from typing import TextIO


class Unbreakable:
    """Writes to ``stream`` until a write fails (closed pipe, lost terminal), then discards output.

    Characters that the encoding lacks become ``?``. Has the part of ``TextIO`` that rich uses.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.broken = False

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        if not self.broken:
            try:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except (OSError, ValueError):  # ValueError: the stream was closed
                self.broken = True
        return len(text)

    def flush(self) -> None:
        if not self.broken:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.broken = True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
