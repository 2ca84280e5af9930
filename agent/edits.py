"""Read a reply, apply its SEARCH/REPLACE blocks to train.py, and write such a reply.

A reply is an envelope and one or more blocks; prose and code fences around them are ignored::

    category: schedule
    hypothesis: a longer warm-down lets the last steps average out more gradient noise
    <<<<<<< SEARCH
    WARMDOWN = 0.3
    =======
    WARMDOWN = 0.5
    >>>>>>> REPLACE

Whole lines are matched, exactly and uniquely; failing that, uniformly re-indented and uniquely;
nothing fuzzier. All blocks refer to the file as it was shown and are applied together or not at
all. An empty REPLACE deletes; an empty SEARCH is refused.

A bare ``=======`` inside a block is settled by looking ahead: each of them is tried as the divider,
and the longest search text that stands in the file counts, so that a ``=======`` which the file
itself has is quoted text and any other divides. A code fence that encloses one whole side of a
block is tried without its two lines in the same way.
"""

from __future__ import annotations

import difflib
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

TITLE_LENGTH = 60
HYPOTHESIS_LENGTH = 600

OPEN, DIVIDER, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"

_FIELD = re.compile(
    r"[\s>#*-]*(category|hypothesis|title)\s*(?:\*\*|__)?\s*:\s*(?:\*\*|__)?\s*(.*)", re.IGNORECASE
)
_NEARLY_MARKER = re.compile(r"\s*(?:<{4,}|>{4,}|(?:<{2,}|>{2,})\s*(?:SEARCH|REPLACE)\b|={7}\s*$)")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*(\S*)\s*(\S*)\s*$")
_PATH = re.compile(
    r"[\s#>*_`'\"-]*(?:(?:in|file|path)\b[\s:]*)?[\s*`'\"]*"
    r"([\w./\\~-]+\.(?:py|pyi|toml|md|txt|json|jsonl|yaml|yml|cfg|ini|sh|c|cpp|cu|h))\b",
    re.IGNORECASE,
)
_OWN_PATHS = ("train.py", "trainer/train.py")
_ELISION = re.compile(
    r"\s*(?:(?:\.{3}|…)\s*(?:#.*)?"
    r"|(?:#|//|/\*)\s*[\[(<]?\s*(?:(?:\.{3}|…).*"
    r"|.*\b(?:existing|unchanged|rest|remain\w*|omitted|the same|as before)\b.*(?:\.{3}|…)\W*"
    r"|(?:the )?(?:rest|remainder|remaining|existing|other|previous)(?: of)?(?: the| this)?"
    r" (?:code|file|function|class|method|lines|implementation|definitions|imports)"
    r"(?: (?:is|are|stays?|remains?|goes|the same|here|below|above|unchanged|omitted|as before))*"
    r"\W*))$",
    re.IGNORECASE,
)


class EditError(ValueError):
    """The reply is not an edit of this file; the message says which block and why."""


@dataclass(frozen=True)
class Block:
    """Replace the lines ``search`` by the lines ``replace`` ("" deletes them)."""

    search: str
    replace: str
    others: tuple[Block, ...] = ()
    """Other readings of the same block, where a bare ``=======`` or a fence leaves a choice."""


@dataclass(frozen=True)
class Edit:
    """One proposal as the reply stated it."""

    category: str
    hypothesis: str
    title: str
    """At most 60 characters; from the hypothesis where the reply gave none."""
    blocks: tuple[Block, ...]

    def apply(self, source: str) -> str:
        """Return ``source`` with every block applied.

        Raises:
            EditError: a block is not found, not unique, overlaps another, or changes nothing.
        """
        crlf = "\r\n" in source and source.count("\r\n") == source.count("\n")
        lines = (source.replace("\r\n", "\n") if crlf else source).split("\n")
        places = sorted(
            (_locate(lines, block, f"block {number}"), number)
            for number, block in enumerate(self.blocks, 1)
        )
        for ((_, end, _), a), ((start, _, _), b) in itertools.pairwise(places):
            if start < end:
                raise EditError(f"blocks {a} and {b} overlap at line {start + 1}; merge them")
        result = list(lines)
        for (start, end, replacement), _ in reversed(places):
            result[start:end] = replacement
        if result == lines:
            raise EditError("the edit changes nothing")
        return ("\r\n" if crlf else "\n").join(result)


def parse(reply: str) -> Edit:
    """Read a reply. Nothing is looked up in the file here; see ``Edit.apply``.

    Raises:
        EditError: a field is missing, there is no block, a block is cut off, empty, elided or
            without effect, a marker is malformed, or the block names another file.
    """
    fields: dict[str, str] = {}
    bodies: list[list[str]] = []
    body: list[str] | None = None
    field = ""
    above = ""  # the last line that could name a file for the block that follows
    for number, line in enumerate(reply.replace("\r\n", "\n").split("\n"), 1):
        marker = line.rstrip()
        if body is not None:
            if marker == OPEN:
                raise EditError(
                    f"block {len(bodies) + 1} is not closed: line {number} of the reply opens "
                    f"another before {CLOSE!r}"
                )
            if marker == CLOSE:
                bodies.append(body)
                body, above = None, ""
            else:
                body.append(line)
        elif marker == OPEN:
            _refuse_other_file(above, len(bodies) + 1)
            body, field = [], ""
        elif _NEARLY_MARKER.match(line):
            raise EditError(
                f"line {number} of the reply, {_quote(line)}, is a marker out of place or "
                f"misspelt; a block is {OPEN!r}, {DIVIDER!r}, {CLOSE!r}, each alone on its line "
                "and not indented"
            )
        elif match := _FIELD.match(line):
            field = match[1].lower()
            value = match[2].strip("`*\"'. \t").lower() if field == "category" else match[2]
            if field == "category" and fields.get(field, value) != value:
                raise EditError(f"two categories, {fields[field]!r} and {value!r}; name one")
            fields[field] = value
        elif (fence := _FENCE.match(line)) or not line.strip():
            field = ""
            if fence and "." in fence[1] + fence[2]:
                above = f"{fence[1]} {fence[2]}".replace(":", " ").split()[-1]
        else:
            above = line
            if field in ("hypothesis", "title"):
                fields[field] += " " + line
    if body is not None:
        raise EditError(f"block {len(bodies) + 1} is cut off: there is no {CLOSE!r} after it")
    hypothesis = _one_line(fields.get("hypothesis", ""), HYPOTHESIS_LENGTH)
    title = _one_line(fields.get("title", ""), TITLE_LENGTH) or _one_line(hypothesis, TITLE_LENGTH)
    for name, value in (("category", fields.get("category")), ("hypothesis", hypothesis)):
        if not value:
            raise EditError(f"there is no line '{name}: ...' with a value")
    if not bodies:
        raise EditError(f"there is no block; an edit is written as {OPEN!r} ... {CLOSE!r}")
    blocks = tuple(_read_block(lines, f"block {i}") for i, lines in enumerate(bodies, 1))
    return Edit(fields["category"], hypothesis, title, blocks)


def render(
    category: str, hypothesis: str, blocks: Iterable[Block], *, title: str | None = None
) -> str:
    """Write the reply that ``parse`` reads back; texts are put on one line and shortened.

    Raises:
        ValueError: a block contains a line that is itself an opening or closing marker.
    """
    parts = [f"category: {category}"]
    if title:
        parts.append(f"title: {_one_line(title, TITLE_LENGTH)}")
    parts.append(f"hypothesis: {_one_line(hypothesis, HYPOTHESIS_LENGTH)}")
    for block in blocks:
        search, replace = _lines(block.search), _lines(block.replace)
        if any(line.rstrip() in (OPEN, CLOSE) for line in search + replace):
            raise ValueError(f"a line inside the block is {OPEN!r} or {CLOSE!r}")
        parts += ["", OPEN, *search, DIVIDER, *replace, CLOSE]
    return "\n".join(parts) + "\n"


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _one_line(text: str, length: int) -> str:
    """Printable, single-spaced, and cut at a word to at most ``length`` characters."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    line = " ".join(words)
    if len(line) > length:
        line = line[: length - 1].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"
    return line


def _quote(line: str) -> str:
    return repr(line if len(line) <= 100 else line[:97] + "...")


def _refuse_other_file(above: str, number: int) -> None:
    match = _PATH.match(above)
    if not match or len(above) > 100 or re.search(r"\w\s+\w", above[match.end() :]):
        return
    path = match[1].replace("\\", "/").removeprefix("./")
    if path not in _OWN_PATHS:
        raise EditError(f"block {number} names the file {path}; only trainer/train.py is edited")


def _read_block(body: list[str], name: str) -> Block:
    """The block's readings, the first divider's first."""
    dividers = [i for i, line in enumerate(body) if line.rstrip() == DIVIDER]
    if not dividers:
        raise EditError(f"{name} has no {DIVIDER!r} line between search and replacement")
    readings: dict[Block, str] = {}
    for i in dividers:
        search, replace = body[:i], body[i + 1 :]
        for old, new in ((search, replace), (_unfenced(search), _unfenced(replace))):
            readings.setdefault(Block(_text(old), _text(new)), _fault(old, new))
    sound = [block for block, fault in readings.items() if not fault]
    if not sound:
        raise EditError(f"{name} {next(iter(readings.values()))}")
    return Block(sound[0].search, sound[0].replace, tuple(sound[1:]))


def _unfenced(lines: list[str]) -> list[str]:
    fenced = len(lines) > 1 and _FENCE.match(lines[0]) and lines[-1].strip() in ("```", "~~~")
    return lines[1:-1] if fenced else lines


def _fault(search: list[str], replace: list[str]) -> str:
    if not any(line.strip() for line in search):
        return "has an empty search text; quote the lines that the new ones replace or stand beside"
    if search == replace:
        return "changes nothing: search and replacement are the same"
    for line in replace:
        if _ELISION.match(line) and line not in search:
            return f"elides code ({_quote(line.strip())}); write the replacement in full"
    return ""


def _locate(lines: list[str], block: Block, name: str) -> tuple[int, int, list[str]]:
    """Start, end and replacement lines of a block, by the longest reading found in the file."""
    readings = sorted((block, *block.others), key=lambda b: len(b.search), reverse=True)
    for find in (_exact, _reindented):
        for reading in readings:
            search, replace = _lines(reading.search), _lines(reading.replace)
            starts = list(find(lines, search))
            if len(starts) > 1:
                numbers = ", ".join(str(start + 1) for start in starts[:10])
                raise EditError(
                    f"{name}: its search text stands in the file {len(starts)} times, at lines "
                    f"{numbers}; quote more lines around it"
                )
            if starts:
                start, end = starts[0], starts[0] + len(search)
                if find is _reindented:
                    replace = _reindent(replace, search, lines[start:end], name)
                if replace == lines[start:end]:
                    raise EditError(f"{name} changes nothing")
                return start, end, replace
    raise EditError(f"{name}: {_nearest(lines, _lines(block.search))}")


def _exact(lines: list[str], search: list[str]) -> Iterator[int]:
    for start in range(len(lines) - len(search) + 1):
        if lines[start] == search[0] and lines[start : start + len(search)] == search:
            yield start


def _reindented(lines: list[str], search: list[str]) -> Iterator[int]:
    key = _dedented(search)
    anchor = next(i for i, line in enumerate(key) if line)
    for start in range(len(lines) - len(search) + 1):
        likely = lines[start + anchor].endswith(key[anchor].lstrip())
        if likely and _dedented(lines[start : start + len(search)]) == key:
            yield start


def _dedented(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n")


def _indent(lines: list[str]) -> str:
    """Leading white space that all lines with text share."""
    first = next(i for i, line in enumerate(lines) if line.strip())
    return lines[first].removesuffix(_dedented(lines)[first])


def _reindent(replace: list[str], search: list[str], found: list[str], name: str) -> list[str]:
    """Shift the replacement as the search text had to be shifted to be ``found``."""
    old, new = _indent(search), _indent(found)
    shifted = []
    for line in replace:
        if not line.strip():
            shifted.append("")
        elif line.startswith(old):
            shifted.append(new + line.removeprefix(old))
        elif new.endswith(old):
            shifted.append(new.removesuffix(old) + line)
        else:
            raise EditError(
                f"{name}: the search text is found indented by {len(new)} instead of {len(old)} "
                f"characters, but {_quote(line)} cannot be shifted alike; indent as the file does"
            )
    return shifted


def _nearest(lines: list[str], search: list[str]) -> str:
    """Why ``search`` is not in the file, with the real lines most like it."""
    message = "its search text is not in the file"
    if elided := next((line for line in search if _ELISION.match(line)), None):
        message += f" (it elides code, {_quote(elided.strip())}; quote every line)"
    if len(search) > len(lines):
        return f"{message}: it has more lines than the file"
    file_keys, keys = [line.strip() for line in lines], [line.strip() for line in search]
    matcher = difflib.SequenceMatcher(None, file_keys, keys, autojunk=False)
    best = max(
        matcher.get_matching_blocks(), key=lambda m: sum(map(len, file_keys[m.a : m.a + m.size]))
    )
    if any(file_keys[best.a : best.a + best.size]):
        start = max(0, best.a - best.b)
        stop = min(len(lines), start + len(search))
        wrong = [i for i in range(start, stop) if lines[i] != search[i - start]]
        around = wrong[0] if wrong else start
        shown = list(range(max(start, around - 3), min(stop, around + 7)))
        if wrong:
            message += f"; it has {_quote(search[around - start])} where line {around + 1} differs"
    else:
        key = max(keys, key=len)[:200]
        shown = [i for i, k in enumerate(file_keys) if key in k][:5]
        if not shown:
            close = difflib.get_close_matches(key, {k[:200] for k in file_keys if k}, cutoff=0.4)
            shown = [i for i, k in enumerate(file_keys) if k[:200] in close][:5]
    if not shown:
        return f"{message}, nor anything like it"
    quoted = "\n".join(f"{i + 1:5} | {lines[i][:200]}" for i in shown)
    return f"{message}. The nearest real lines:\n{quoted}"
