"""What a reply may hold beside one edit: further ideas, and lines by which a model steers.

``blocks.parse`` reads one edit. A model may be allowed several in one reply, each with lines of its
own (title, category, hypothesis) and with its own blocks or file; ``split`` makes replies of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.edits.blocks import CLOSE, FIELD, OPEN, Envelope, fence_of, marker_of
from agent.thoughts import without_thoughts


def split(reply: str, envelope: Envelope = "edits") -> list[str]:
    """The ideas of a reply, each as a reply of its own; the whole reply if it is one idea.

    The next one begins at the first line with a field after a whole block or file. What comes after
    the last edit, and has none of its own, belongs to that one.
    """
    parts: list[list[str]] = [[]]
    has_edit = is_whole = False
    for line, field, is_inside, ends in _lines(reply, envelope):
        if field and is_whole:
            parts.append([])
            has_edit = is_whole = False
        parts[-1].append(line)
        has_edit, is_whole = has_edit or is_inside, is_whole or ends
    if len(parts) > 1 and not has_edit:
        rest = parts.pop()
        parts[-1] += rest
    return [reply] if len(parts) == 1 else ["\n".join(part) for part in parts]


def fields(reply: str, envelope: Envelope = "edits") -> dict[str, str]:
    """The fields of a reply of one idea, by name; the first of each name."""
    found: dict[str, str] = {}
    for _, field, _, _ in _lines(reply, envelope):
        if field:
            found.setdefault(field[1].lower(), field[2].strip("`*\"'. \t"))
    return found


def _lines(
    reply: str, envelope: Envelope
) -> Iterator[tuple[str, re.Match[str] | None, bool, bool]]:
    """Each line; its field, if it has one; whether it is within a block or file; whether it ends
    that."""
    mark = ""
    for line in without_thoughts(reply).replace("\r\n", "\n").split("\n"):
        marker, fence = marker_of(line), fence_of(line) if envelope == "file" else None
        was = mark
        if mark == OPEN:
            mark = "" if marker == CLOSE else OPEN
        elif mark:
            mark = "" if fence and fence[1].startswith(mark) and not fence[2] else mark
        elif marker == OPEN:
            mark = OPEN
        elif fence:
            mark = fence[1]
        is_inside = bool(was or mark)
        yield line, None if is_inside else FIELD.match(line), is_inside, bool(was and not mark)
