"""Read a reply, apply it to train.py, and write such a reply.

A reply is an envelope (fields) and one or more blocks; other text and code fences are ignored::

    category: schedule
    hypothesis: a longer warm-down lets the last steps average out more gradient noise
    <<<<<<< SEARCH
    WARMDOWN = 0.3
    =======
    WARMDOWN = 0.5
    >>>>>>> REPLACE

The search text must match whole lines at one place only: exactly, else after one uniform change of
indentation. There is no fuzzier match (see ``locate``). All blocks refer to the file as it was
shown and are applied together or not at all. An empty REPLACE deletes; an empty SEARCH is refused.

If a block has several bare ``=======`` lines, each is tried as the divider, and the longest search
text that is in the file counts. So a ``=======`` that the file contains is read as quoted text, and
any other as the divider. In the same way, a code fence around one whole side of a block is tried as
text to match and as markup.

A model that cannot quote lines exactly is asked for the whole file instead, in one code fence after
the same fields (envelope ``file``). Blocks are accepted there, too.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.edits.locate import Block as Block
from agent.edits.locate import EditError as EditError
from agent.edits.locate import elides, lines_of, locate, quote, text_of
from agent.thoughts import without_thoughts
from trainer.source import in_form_of, plain
from trainer.untrusted import one_line

Envelope = Literal["edits", "file"]

TITLE_LENGTH = 60
HYPOTHESIS_LENGTH = 600
SIGN_LENGTH = 300
MAX_DIVIDERS = 20

OPEN, DIVIDER, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"

FIELD = re.compile(
    r"[\s>#*_-]*(?:\d[.)][\s*_]*)?(category|hypothesis|title|sign|follow-up|exhausted)"
    r"\s*(?:\*\*|__)?\s*:\s*(?:\*\*|__)?\s*(.*)",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"[*_`~]*(?:(<{7} ?SEARCH)|(={7})|>{7} ?REPLACE)"
    r"(?: ?(?:[*_`~.,:;]|<[^<> ]+>|(?:trainer/)?train\.py))*"
)
"""A marker, and what models glue to it: a fence, emphasis, a full stop, a tag, the file's name."""
_NEARLY_MARKER = re.compile(
    r"\s*(?:[-+>*] |\d+[.)] )?\s*(?:<{4,}|>{4,}|(?:<{2,}|>{2,})\s*(?:SEARCH|REPLACE)\b|={7}\s*$)"
)
_GLUED_OPEN = re.compile(r"(?:<|&lt;){4,9}\s{0,3}SEARCH\b", re.IGNORECASE)
_NEARLY_CLOSE = re.compile(r">{4,}|>{2,}\s*REPLACE\b|^\W*REPLACE\W*$")
_GLUED = re.compile(r">{4,}\s*REPLACE|<{4,}\s*SEARCH")
_NEARLY_DIVIDER = re.compile(r"={4,}|^\s*-{7,}\s*$")
_FENCE = re.compile(r"\s*+(`{3,}+|~{3,}+)(?:<[^<> ]+>|[*_.,:;]+(?!\S))*+\s*+(\S*+)\s*+(\S*+)\s*+$")
_NEARLY_FENCE = re.compile(r"`{3}|~{3}")
_PATH = re.compile(
    r"[\s#>*_`'\"-]*(?:(?:in|file|path)\b[\s:]*)?[\s*`'\"]*"
    r"([\w./\\~-]+\.(?:py|pyi|toml|md|txt|json|jsonl|yaml|yml|cfg|ini|sh|c|cpp|cu|h))\b",
    re.IGNORECASE,
)
_OWN_PATHS = ("train.py", "trainer/train.py")


@dataclass(frozen=True)
class Edit:
    """One proposal as the reply stated it."""

    category: str
    hypothesis: str
    title: str
    """At most 60 characters; taken from the hypothesis if the reply gave none."""
    blocks: tuple[Block, ...]
    file: str | None = None
    """The whole new file, instead of blocks."""
    sign: str = ""
    """What would show that the hypothesis is wrong; "" if the reply does not say."""

    def apply(self, source: str) -> str:
        """Return ``source`` with every block applied, or the file that replaces it.

        Byte order mark and line ends stay those of ``source``.

        Raises:
            EditError: a block is not found, not unique, overlaps another, or changes nothing; the
                new file elides code or is the same as the old one.
        """
        lines = plain(source).split("\n")
        result = self._edited(lines) if self.file is None else self._replaced(lines)
        if result == lines:
            raise EditError("the edit changes nothing")
        return in_form_of(source, "\n".join(result))

    def _edited(self, lines: list[str]) -> list[str]:
        places = sorted(
            (locate(lines, block, f"block {number}"), number)
            for number, block in enumerate(self.blocks, 1)
        )
        for ((_, end, _), a), ((start, _, _), b) in itertools.pairwise(places):
            if start < end:
                raise EditError(f"blocks {a} and {b} overlap at line {start + 1}; merge them")
        result = list(lines)
        for (start, end, replacement), _ in reversed(places):
            result[start:end] = replacement
        return result

    def _replaced(self, lines: list[str]) -> list[str]:
        """The file's lines, ending as ``lines`` do."""
        assert self.file is not None
        written = lines_of(self.file.removeprefix("\ufeff"))
        _refuse_glued("the file", written, lines)
        if flaw := _flaw(written, lines):
            raise EditError(f"the file {flaw}")
        return [*written, ""] if lines[-1] == "" else written


def parse(reply: str, envelope: Envelope = "edits") -> Edit:
    """Parse a reply. This does not compare it with train.py; see ``Edit.apply``.

    Args:
        envelope: the format that was asked for.

    Raises:
        EditError: a field is missing; a block or the file is missing, cut off or empty; a block is
            elided or without effect; a marker is malformed; or another file is named.
    """
    lines = without_thoughts(reply).replace("\r\n", "\n").split("\n")
    around = _Around()
    if envelope == "file" and not any(marker_of(line) == OPEN for line in lines):
        file = _read_file(lines, around)
        return around.edit((), file)
    blocks = _read_blocks(lines, around)
    return around.edit(blocks, None)


def render(
    category: str, hypothesis: str, blocks: Iterable[Block], *, title: str = "", sign: str = ""
) -> str:
    """Write the reply that ``parse`` reads back; texts are put on one line and shortened.

    Raises:
        ValueError: a block contains a line that is itself an opening or closing marker.
    """
    parts = [f"category: {category}"]
    if title:
        parts.append(f"title: {one_line(title, TITLE_LENGTH)}")
    parts.append(f"hypothesis: {one_line(hypothesis, HYPOTHESIS_LENGTH)}")
    parts += [f"sign: {one_line(sign, SIGN_LENGTH)}"] if sign else []
    for block in blocks:
        search, replace = lines_of(block.search), lines_of(block.replace)
        if any(marker_of(line) in (OPEN, CLOSE) for line in search + replace):
            raise ValueError(f"a line inside the block is {OPEN!r} or {CLOSE!r}")
        parts += ["", OPEN, *search, DIVIDER, *replace, CLOSE]
    return "\n".join(parts) + "\n"


class _Around:
    """What stands around blocks or fences: the fields, and a line that may name a file."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._open = ""
        """The field that the next line may continue."""
        self._above = ""
        """The last line that could name a file for the block or fence that follows."""

    def read(self, line: str) -> None:
        if match := FIELD.match(line):
            self._open, value = match[1].lower(), match[2]
            if self._open == "category":
                value = value.strip("`*\"'. \t").lower()
                known = self._values.get("category", value)
                if known != value:
                    raise EditError(f"two categories, {known!r} and {value!r}; name one")
            self._values[self._open] = value
        elif not line.strip():
            self._open = ""
        else:
            self._above = line
            if self._open in ("hypothesis", "title", "sign"):
                self._values[self._open] += " " + line

    def read_fence(self, fence: re.Match[str]) -> None:
        """Note the path on a fence (```` ```python trainer/train.py ````), if there is one."""
        self._open = ""
        if "." in fence[2] + fence[3]:
            self._above = f"{fence[2]} {fence[3]}".replace(":", " ").split()[-1]

    def enter(self, what: str) -> None:
        """Begin a block or file; refuse it if the line above names another file."""
        match = _PATH.match(self._above) if len(self._above) <= 100 else None
        if match and not re.search(r"\w\s+\w", self._above[match.end() :]):
            path = match[1].replace("\\", "/").removeprefix("./")
            if path not in _OWN_PATHS:
                raise EditError(f"{what} names the file {path}; only trainer/train.py is edited")
        self._open = self._above = ""

    def edit(self, blocks: tuple[Block, ...], file: str | None) -> Edit:
        """
        Raises:
            EditError: a field is missing, or there is nothing to apply.
        """
        category, hypothesis = self._values.get("category"), self._values.get("hypothesis", "")
        hypothesis = one_line(hypothesis, HYPOTHESIS_LENGTH)
        for name, value in (("category", category), ("hypothesis", hypothesis)):
            if not value:
                raise EditError(f"there is no line '{name}: ...' with a value")
        if not blocks and file is None:
            raise EditError(f"there is no block; an edit is written as {OPEN!r} ... {CLOSE!r}")
        title = one_line(self._values.get("title") or hypothesis, TITLE_LENGTH)
        sign = one_line(self._values.get("sign", ""), SIGN_LENGTH)
        return Edit(category or "", hypothesis, title, blocks, file, sign)


def _read_blocks(lines: Sequence[str], around: _Around) -> tuple[Block, ...]:
    bodies: list[list[str]] = []
    body: list[str] | None = None
    glued, begin = None, 0
    for number, line in enumerate(lines, 1):
        marker = marker_of(line)
        name = f"block {len(bodies) + 1}"
        if body is not None:
            if marker == OPEN:
                _refuse_nearly_closed(name, body, begin)
                raise EditError(
                    f"{name} is not closed: line {number} of the reply opens another before "
                    f"{CLOSE!r}"
                )
            if marker == CLOSE:
                bodies.append(body)
                body = None
            else:
                body.append(line)
            continue
        if marker == OPEN:
            around.enter(name)
            body, begin, glued = [], number + 1, None
            continue
        if _GLUED_OPEN.search(line):
            glued = number, line
        if _NEARLY_MARKER.match(_ascii(line)):
            at, told = glued if glued and "<" not in line else (number, line)
            raise EditError(
                f"line {at} of the reply, {quote(told)}, is a marker out of place or "
                f"misspelt; a block is {OPEN!r}, {DIVIDER!r}, {CLOSE!r}, each alone on its line "
                "and not indented"
            )
        if fence := fence_of(line):
            around.read_fence(fence)
        else:
            around.read(line)
    if body is not None:
        _refuse_nearly_closed(name, body, begin)
        raise EditError(f"{name} is cut off: there is no {CLOSE!r} after it")
    return tuple(_read_block(body, f"block {i}") for i, body in enumerate(bodies, 1))


def marker_of(line: str) -> str:
    """The marker that a line is, whatever is glued to it; else "".

    Only the last one may be indented. With the others the block may be, by who knows how much.
    """
    text = _ascii(line).rstrip()
    match = _MARKER.fullmatch(" ".join(text.split()))
    if match is None or len(line) > 100 or (text[0].isspace() and (match[1] or match[2])):
        return ""
    return OPEN if match[1] else DIVIDER if match[2] else CLOSE


def _ascii(line: str) -> str:
    """The beginning of a line, without invisible characters and other forms of ASCII's."""
    text = unicodedata.normalize("NFKC", line[:100])
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


def _refuse_nearly_closed(name: str, body: Sequence[str], begin: int) -> None:
    """Refuse a block that does not end if a line was perhaps meant to end it."""
    for number, line in enumerate(body, begin):
        if _NEARLY_CLOSE.search(_ascii(line)):
            raise EditError(
                f"{name} is not closed: line {number} of the reply, {quote(line)}, is not read as "
                f"a closing marker: write {CLOSE!r} with exactly seven signs, alone on its line"
            )


def _refuse_glued(what: str, written: Sequence[str], old: Sequence[str]) -> None:
    """Refuse new lines with a marker that is not read as one, and would become code."""
    for number, line in enumerate(written, 1):
        if _GLUED.search(_ascii(line)) and line not in old:
            raise EditError(
                f"{what} has a marker that is not read as one (new line {number}, {quote(line)}): "
                f"write {OPEN!r} and {CLOSE!r} with exactly seven signs, each alone on its line"
            )


def fence_of(line: str) -> re.Match[str] | None:
    """A code fence, its sign and the two words after it, whatever is glued to it."""
    return _FENCE.match(_ascii(line)) if len(line) <= 100 else None


def _read_file(lines: Sequence[str], around: _Around) -> str:
    """The one fenced file; a longer fence may hold shorter ones, as in CommonMark."""
    files: list[list[str]] = []
    mark = glued = ""
    for number, line in enumerate(lines, 1):
        fence = fence_of(line)
        if mark and fence and fence[1].startswith(mark) and not fence[2]:
            mark = ""
        elif fence and not mark:
            around.read_fence(fence)
            around.enter("the code fence")
            mark = fence[1]
            files.append([])
        else:
            if _NEARLY_FENCE.search(line):
                glued = (
                    f"; line {number} of the reply, {quote(line)}, neither opens nor closes it: "
                    "write the same sign twice, each time alone on its line"
                )
            files[-1].append(line) if mark else around.read(line)
    if mark:
        what = "not closed, or not opened" if glued else "cut off: nothing closes it"
        raise EditError(f"the file in the code fence {mark!r} is {what}{glued}")
    if len(files) != 1:
        raise EditError(
            f"{len(files) or 'no'} code fences in the reply; write one, with the whole of train.py "
            f"in it (if a line of the file is itself a fence, use a longer one){glued}"
        )
    if not any(line.strip() for line in files[0]):
        raise EditError("the file is empty")
    return text_of(files[0])


def _read_block(body: list[str], name: str) -> Block:
    """The block with all its valid readings, in the order of their dividers."""
    dividers = [i for i, line in enumerate(body) if marker_of(line) == DIVIDER]
    if not dividers:
        near = next((line for line in body if _NEARLY_DIVIDER.search(_ascii(line))), "")
        told = near and (
            f", and {quote(near)} is not read as one: write {DIVIDER!r} with exactly seven signs, "
            "alone on its line and not indented"
        )
        raise EditError(f"{name} has no {DIVIDER!r} line between search and replacement{told}")
    if len(dividers) > MAX_DIVIDERS:
        raise EditError(f"{name} has {len(dividers)} lines {DIVIDER!r}; make several blocks of it")
    _refuse_glued(name, body[dividers[0] + 1 :], body[: dividers[0]])
    readings: dict[Block, str] = {}
    for i in dividers:
        search, replace = body[:i], body[i + 1 :]
        bare = _unfenced(search), _unfenced(replace)
        if bare[1] and bare[1] is replace and fence_of(replace[0]):
            bare = search, replace  # the fence is not closed, so lines may be missing
        for old, new in ((search, replace), bare):
            readings.setdefault(Block(text_of(old), text_of(new)), _fault(old, new))
    sound = [block for block, fault in readings.items() if not fault]
    if not sound:
        raise EditError(f"{name} {next(iter(readings.values()))}")
    return Block(sound[0].search, sound[0].replace, tuple(sound[1:]))


def _unfenced(lines: list[str]) -> list[str]:
    last = fence_of(lines[-1]) if len(lines) > 1 and fence_of(lines[0]) else None
    return lines[1:-1] if last and not last[2] else lines


def _fault(search: list[str], replace: list[str]) -> str:
    if not any(line.strip() for line in search):
        return "has an empty search text; quote the lines that the new ones replace or stand beside"
    if search == replace:
        return "changes nothing: search and replacement are the same"
    return _flaw(replace, search)


def _flaw(written: Sequence[str], old: Sequence[str]) -> str:
    """What is wrong with new lines; an elision may stand in the old ones, too."""
    for number, line in enumerate(written, 1):
        if "\r" in line:
            return f"has a carriage return inside a line, {quote(line)}"
        if elides(line) and line not in old:
            return (
                f"elides code (new line {number}, {quote(line.strip())}); write every line in full"
            )
    return ""
