"""What a reply may hold beside one edit: further ideas, and lines by which a model steers.

``blocks.parse`` reads one edit. A model may be allowed several in one reply, each with lines of its
own (title, category, hypothesis) and with its own blocks or file; ``split`` makes replies of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from agent.edits.blocks import (
    CLOSE,
    FIELD,
    OPEN,
    EditError,
    Envelope,
    fence_of,
    marker_of,
    parse,
)
from agent.edits.edited import as_reply
from agent.thoughts import without_thoughts

HEAD = {"title", "category", "hypothesis"}
FIRST = {"title", "follow-up"}
"""Fields of which an idea has one each; those with which it begins, whatever the one before has."""


def split(reply: str, envelope: Envelope = "edits") -> list[str]:
    """The ideas of a reply, each as a reply of its own; the whole reply if it is one idea. One
    that has the same blocks or file as one before it is left out.

    Between two edits a new idea begins if a field of ``HEAD`` comes again: with the first line
    there whose field the idea before has, too, or is one of ``FIRST``.
    """
    groups = [
        (is_inside, [(line, field[1].lower() if field else "") for line, field, _ in group])
        for is_inside, group in groupby(_lines(reply, envelope), key=itemgetter(2))
    ]
    parts: list[list[str]] = [[]]
    made: list[list[str]] = [[]]
    has: set[str] = set()
    for n, (is_inside, group) in enumerate(groups):
        lines, names = [line for line, _ in group], [name for _, name in group]
        is_between = not is_inside and 0 < n < len(groups) - 1
        if is_between and HEAD & has & set(names):
            at = next(i for i, name in enumerate(names) if name in FIRST | has)
            parts[-1] += lines[:at]
            lines, names, has = lines[at:], names[at:], set()
            parts.append([])
            made.append([])
        parts[-1] += lines
        made[-1] += lines if is_inside else []
        has |= {*names} - {""}
    if len(parts) == 1:
        return [reply]
    return ["\n".join(part) for n, part in enumerate(parts) if made[n] not in made[:n]]


def as_blocks(reply: str, base: str) -> str:
    """An idea that is a whole file, as what it changes in ``base``, from which it was made.

    So it keeps what others have changed since. One that cannot be read is left as it is.
    """
    try:
        new = parse(reply, "file").apply(base)
    except EditError:
        return reply
    return rewritten(reply, "file", base, new)


def rewritten(reply: str, envelope: Envelope, old: str, new: str) -> str:
    """The same idea with other blocks, which make ``new`` of ``old``. It must be one that ``parse``
    can read."""
    said = "\n".join(line for line, _, is_inside in _lines(reply, envelope) if not is_inside)
    return as_reply(said, old, new, category=parse(reply, envelope).category, rules="")


def fields(reply: str, envelope: Envelope = "edits") -> dict[str, str]:
    """The fields of a reply of one idea, by name; the first of each name."""
    found: dict[str, str] = {}
    for _, field, _ in _lines(reply, envelope):
        if field:
            found.setdefault(field[1].lower(), field[2].strip("`*\"'. \t"))
    return found


def _lines(reply: str, envelope: Envelope) -> Iterator[tuple[str, re.Match[str] | None, bool]]:
    """Each line; its field, if it has one; whether it is within a block or file."""
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
        yield line, None if is_inside else FIELD.match(line), is_inside
