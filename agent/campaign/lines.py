"""How an event is written as a line of the journal, and read back.

A line is one JSON object whose last field is the CRC-32 of the bytes before it. So bytes that a
disk lost or a person changed are noticed where they are, and not taken for something that happened.
Lines of format 1 have no checksum.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.campaign.events import FORMAT, Event, read_event
from agent.campaign.happened import Happened
from trainer.errors import UserError

_CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')
CHECKED_FORMAT = 2
"""From this format on every line has a checksum."""


class JournalError(UserError):
    """An event could not be written or read; the message says what, where and what to do."""


class _Unsound(JournalError):
    """A line lacks bytes. At the end of a journal it is a torn one."""


@dataclass(frozen=True)
class Place:
    """A place between two lines of a journal."""

    size: int = 0
    """Bytes before it."""
    lines: int = 0
    n: int = -1
    """Number of the event before it."""
    form: int = 1
    """The journal's format there."""
    crc: int = 0
    """CRC-32 of all bytes before it."""

    def after(self, line: bytes, n: int, form: int) -> Place:
        """The place after one more line."""
        crc = zlib.crc32(line, self.crc)
        return Place(self.size + len(line), self.lines + 1, n, form, crc)


START = Place()


def write_line(event: Happened) -> bytes:
    """
    Raises:
        JournalError: a value that JSON cannot express: NaN, infinity, an object.
    """
    # ASCII, because model-written text may hold lone surrogates, which UTF-8 cannot encode.
    values = event.model_dump()
    try:
        text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(
            f"event {values['event']!r} cannot be written as JSON: {error}"
        ) from error
    body = text[:-1].encode("ascii")
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


class Reader:
    """The complete events of a journal from a ``place`` on, which then is behind the last of them.

    Only the last one can be torn, since each is synced before the next begins: it has no line feed
    or, after a power cut, lacks other bytes. It is left out, with all that comes after the last
    sound line; a journal that is missing has no line.
    """

    def __init__(self, path: Path, place: Place = START) -> None:
        self.path, self.place = path, place

    def __iter__(self) -> Iterator[Event]:
        """
        Raises:
            JournalError: the file cannot be read, or a line before the last is damaged.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.place.size)
                while (line := file.readline()).endswith(b"\n"):
                    try:
                        event, form = self._read(line)
                    except _Unsound:
                        rest = file.readlines()
                        if any(map(_is_sound, rest)) or (rest and self.place == START):
                            raise
                        return
                    self.place = self.place.after(line, event.n, form)
                    yield event
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}") from error

    def _read(self, line: bytes) -> tuple[Event, int]:
        """The event that a line holds, and the format from it on."""
        place, (stored, is_checked) = self.place, _stored(line)
        if stored is None:
            raise self._damaged(line, "not JSON", _Unsound)
        form = stored.get("format", place.form)
        if form not in range(1, FORMAT + 1):
            raise JournalError(
                f"{self.path} line {place.lines + 1} is of journal format {form!r}, of a newer "
                f"version of autoresearch (this one knows {FORMAT}): install that, or start "
                "another --tag"
            )
        if not is_checked and (is_checked is False or form >= CHECKED_FORMAT):
            why = "its checksum is missing" if is_checked is None else "its checksum is another"
            raise self._damaged(line, f"{why}: bytes were lost or changed", _Unsound)
        try:
            event = read_event(stored, form)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            why = f"{where}: {first['msg'].lower()}; a newer version may have written it"
            raise self._damaged(line, why) from None
        if is_checked and event.n != place.n + 1:
            raise self._damaged(line, f"it is number {event.n} where {place.n + 1} is due")
        return event, form

    def _damaged(
        self, line: bytes, why: str, kind: type[JournalError] = JournalError
    ) -> JournalError:
        return kind(
            f"{self.path} line {self.place.lines + 1} is not an event: {line[:60]!r} ({why}); "
            "restore the file from a copy, or keep only the lines before it: the campaign goes on "
            "from there"
        )


def _stored(line: bytes) -> tuple[Mapping[str, Any] | None, bool | None]:
    """The JSON object of a line, None if it is none; whether its checksum is right, None if it has
    none. Editors that end lines with CR LF change nothing else, so that is no damage."""
    line = line.rstrip(b"\r\n")
    found = _CHECKSUM.search(line)
    is_checked = zlib.crc32(line[: found.start()]) == int(found[1], 16) if found else None
    try:
        stored = json.loads(line.decode())  # bytes may be taken for UTF-16
    except (ValueError, RecursionError):
        return None, is_checked
    return (stored if isinstance(stored, dict) else None), is_checked


def _is_sound(line: bytes) -> bool:
    stored, is_checked = _stored(line)
    return stored is not None and is_checked is not False
