"""The text of a train.py: as files have it, and its plain form, in which everything here works.

Python reads CRLF and a lone CR as line ends, too, so a program stays the same in its plain form.
"""

from __future__ import annotations

import difflib
import re

_MARK = "\ufeff"


def plain(text: str) -> str:
    """A source without byte order mark, each line ended by ``\\n``."""
    return text.removeprefix(_MARK).replace("\r\n", "\n").replace("\r", "\n")


def in_form_of(original: str, edited: str) -> str:
    """``edited`` with the byte order mark of ``original``, and the end that each line has there.

    A line that replaces another gets the end of that one, an added one that of the line above it.
    """
    mark = _MARK if original.startswith(_MARK) else ""
    edited, ends = plain(edited), re.findall(r"\r\n|\r|\n", original)
    if len(set(ends)) < 2:
        return mark + (edited.replace("\n", ends[0]) if ends else edited)
    old, new = plain(original).split("\n"), edited.split("\n")
    own: dict[int, str] = {}
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        for j in range(j1, j2 if i2 > i1 else j1):
            own[j] = "".join(ends[min(i1 + j - j1, i2 - 1) :][:1])
    end, written = ends[0], mark
    for j, line in enumerate(new[:-1]):
        end = own.get(j) or end
        if written.endswith("\r") and line + end == "\n":  # which would make one end of two
            end = "\r"
        written += line + end
    return written + new[-1]


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with a source that cannot be read, where, and what to do."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return (
        f"line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x}): save the file as "
        "UTF-8, without a coding line that names another encoding"
    )
