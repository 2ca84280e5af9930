"""Find the search text of a block in train.py: exactly, or with one uniform change of indentation.

No fuzzier match is allowed: an edit at another place is an experiment that nobody proposed.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_REMARK = 300
"""A line with more characters is not checked for elision; this also bounds the patterns' time."""

_DOTS = r"(?:\.{3}|…)"
_KEPT = r"(?:existing|unchanged|rest|remain\w*|omitted|the same|as before|as is|previous|original)"
_NOUN = (
    r"(?: (?:code|file|function|class|method|line|implementation|definition|import|layer|model)"
    r"(?:s|es)?)"
)
_TAIL = (
    r"(?: (?:is|are|stays?|remains?|goes|the same|here|below|above|unchanged|omitted|as before"
    r"|as is|as it (?:is|was)))"
)
_ELISION = re.compile(
    rf"\s*(?:{_DOTS}\s*(?:#.*)?"
    rf"|{_DOTS}[^\w,]*(?:[\w'-]+\s+){{0,4}}{_KEPT}\b.*"
    r"|(?:#|//|/\*)\s*[\[(<]?\s*(?:"
    rf"{_DOTS}.*"
    rf"|.*\b{_KEPT}\b.*{_DOTS}\W*"
    r"|(?:unchanged|omitted|no changes?|(?:the )?same as (?:before|above))\W*"
    r"|(?:(?:keep|leave) )?(?:the |all |everything )*"
    r"(?:rest|remainder|remaining|existing|else|other|previous)(?: of)?(?: the| this| your)?"
    rf"(?:{_NOUN}{_TAIL}*|{_TAIL}+)\W*))$",
    re.IGNORECASE,
)


class EditError(ValueError):
    """The reply is not an edit of this file; the message says which block and why."""


class NotFound(EditError):
    """A search text is not in the file.

    The message has the nearest lines. To find them takes long, so that is done when it is read: who
    only asks whether an edit applies does not read it.
    """

    def __init__(self, name: str, lines: list[str], search: list[str]) -> None:
        super().__init__(name)
        self._name, self._lines, self._search = name, lines, search

    def __str__(self) -> str:
        return f"{self._name}: {_nearest(self._lines, self._search)}"


@dataclass(frozen=True)
class Block:
    """Replace the lines ``search`` by the lines ``replace`` ("" deletes them)."""

    search: str
    replace: str
    others: tuple[Block, ...] = ()
    """Other readings of the same block, if a bare ``=======`` or a fence makes it ambiguous."""


def lines_of(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def text_of(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def quote(line: str) -> str:
    return repr(line if len(line) <= 100 else line[:97] + "...")


def elides(line: str) -> bool:
    """Whether a line stands for code that is not written out, as ``# ... existing code ...``."""
    return len(line) <= LONGEST_REMARK and _ELISION.match(line) is not None


def locate(lines: list[str], block: Block, name: str) -> tuple[int, int, list[str]]:
    """Start, end and replacement lines of a block, by the longest reading found in ``lines``.

    Raises:
        EditError: it is not found, not unique, changes nothing, or cannot be re-indented.
    """
    readings = sorted((block, *block.others), key=lambda b: len(b.search), reverse=True)
    for reindented in (False, True):
        for reading in readings:
            search, replace = lines_of(reading.search), lines_of(reading.replace)
            starts = places(lines, search, reindented)
            if len(starts) > 1:
                numbers = ", ".join(str(start + 1) for start in starts[:10])
                raise EditError(
                    f"{name}: its search text stands in the file {len(starts)} times, at lines "
                    f"{numbers}; quote more lines around it"
                )
            if starts:
                start, end = starts[0], starts[0] + len(search)
                if reindented:
                    replace = _reindent(replace, search, lines[start:end], name)
                if replace == lines[start:end]:
                    raise EditError(f"{name} changes nothing")
                return start, end, replace
    raise NotFound(name, lines, lines_of(block.search))


def places(lines: list[str], search: list[str], reindented: bool = False) -> list[int]:
    """Where the search text begins in ``lines``."""
    size = len(search)
    starts = [i for i in range(len(lines) - size + 1) if lines[i].strip() == search[0].strip()]
    if not reindented:
        return [i for i in starts if lines[i : i + size] == search]
    return [i for i in starts if _dedented(lines[i : i + size]) == _dedented(search)]


def _dedented(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n")


def _indent(lines: list[str]) -> str:
    """Leading white space that all lines with text share."""
    first = next(i for i, line in enumerate(lines) if line.strip())
    return lines[first].removesuffix(_dedented(lines)[first])


def _reindent(replace: list[str], search: list[str], found: list[str], name: str) -> list[str]:
    """Re-indent the replacement as the search text has to be re-indented to equal ``found``."""
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
                f"characters, but {quote(line)} cannot be shifted alike; indent as the file does"
            )
    return shifted


def _nearest(lines: list[str], search: list[str]) -> str:
    """Why ``search`` is not in the file, with the most similar lines of the file."""
    message = "its search text is not in the file"
    if elided := next((line for line in search if elides(line)), None):
        message += f" (it elides code, {quote(elided.strip())}; quote every line)"
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
            message += f"; it has {quote(search[around - start])} where line {around + 1} differs"
    else:
        key = max(keys, key=len)[:200]
        close = difflib.get_close_matches(key, {k[:200] for k in file_keys if k}, cutoff=0.4)
        shown = [i for i, k in enumerate(file_keys) if key in k or k[:200] in close][:5]
    if not shown:
        return f"{message}, nor anything like it"
    quoted = "\n".join(f"{i + 1:5} | {lines[i][:200]}" for i in shown)
    return f"{message}. The nearest real lines:\n{quoted}"
