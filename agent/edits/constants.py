"""The constants of train.py: their values, their domains, and blocks that change them.

A constant is a module-level literal with an upper-case name, on one line. The last module-level
assignment of a name counts. Its section is the banner above it (``# === optimizer ===``). Its
domain is at the end of its comment: ``range LO..HI``, optionally with ``log`` or ``int``, or
``choice A B C``.
"""

from __future__ import annotations

import ast
import difflib
import functools
import io
import json
import math
import re
import sys
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.edits.locate import Block, EditError, places, text_of
from agent.edits.pieces import pieces, remembered, tree_of
from trainer.source import plain

_BANNER = re.compile(r"#\s*={3,}\s*(.+?)\s*={3,}\s*$")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\brange\s+({_NUMBER})\.\.({_NUMBER})((?:\s+(?:log|int))*)\s*$")
_CHOICE = re.compile(r"\bchoice((?:\s+[^\s,]+)+)\s*$")


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    """Marked ``int``, or the value and both bounds are written as integers."""

    def place(self, value: float) -> float:
        """Position of a value, in [0, 1], on the range's own scale; a value outside is moved in."""
        value = min(self.high, max(self.low, value))
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, place: float) -> float:
        """The value at a position."""
        if self.log:
            return self.low * math.exp(place * math.log(self.high / self.low))
        return self.low + place * (self.high - self.low)


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    options: tuple[Any, ...]


@dataclass(frozen=True)
class Constant:
    """One module-level literal."""

    name: str
    value: Any
    line: int
    """Line number in the file, from 1."""
    section: str
    """Name on the banner above, lower-case; "" above the first."""
    comment: str
    """Text after ``#``, the domain included."""
    domain: Range | Choice | None
    """None if the comment states no valid domain."""


def sections(source: str) -> tuple[str, ...]:
    """The section of each line of ``source``, "" above the first banner.

    Raises:
        SyntaxError: the source is not Python.
    """
    source = plain(source)
    comments = _comments(source)
    names, current = [], ""
    for number, line in enumerate(source.split("\n"), 1):
        if line.startswith("#") and (banner := _BANNER.match(comments.get(number, ""))):
            current = banner[1].lower()
        names.append(current)
    return tuple(names)


@functools.lru_cache(maxsize=64)  # a trial asks a dozen times, of champion and candidate
def constants(source: str) -> tuple[Constant, ...]:
    """All constants in file order.

    Raises:
        SyntaxError: the source is not Python.
    """
    source = plain(source)
    comments, section = _comments(source), sections(source)
    found = []
    for name, value in _assigned(source).items():
        line = value.lineno
        if line != value.end_lineno or not name.isupper():
            continue
        try:
            literal = ast.literal_eval(value)
        except ValueError:
            continue
        comment = comments.get(line, "").lstrip("#").strip()
        domain = _domain(comment, literal)
        found.append(Constant(name, literal, line, section[line - 1], comment, domain))
    return tuple(sorted(found, key=lambda constant: constant.line))


def set_constants(source: str, values: Mapping[str, Any]) -> tuple[Block, ...]:
    """Blocks that write ``values`` in place of the literals; comments and layout stay.

    Floats are written with four significant digits. An unchanged value gets no block.

    Raises:
        EditError: there is no such constant, or the value is not a finite literal.
        SyntaxError: the source is not Python.
    """
    source = plain(source)
    old = source.split("\n")
    new = list(old)
    known = {constant.name: constant for constant in constants(source)}
    assigned = _assigned(source)
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise EditError(f"train.py has no constant {name} on one line of its own{hint}")
        place, at = assigned[name], known[name].line - 1
        literal = format_literal(value, like=known[name].value)
        # Columns of the syntax tree count UTF-8 bytes.
        line = old[at].encode()
        written = line[: place.col_offset] + literal.encode() + line[place.end_col_offset :]
        new[at] = written.decode()
    return _blocks(old, new)


def format_literal(value: Any, *, like: Any = None) -> str:
    """A short literal for a value, with the type of ``like`` if that loses no information.

    Raises:
        EditError: the value is not a finite literal.
    """
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    if is_number and (isinstance(value, int) or math.isfinite(value)):
        if isinstance(like, int) and value == int(value):
            return str(int(value))
        if isinstance(value, int) and not isinstance(like, float):
            return str(value)
        text = re.sub(r"e([-+])0*(\d)", r"e\1\2", f"{value:.4g}").replace("e+", "e")
        return text if re.search(r"[.e]", text) else f"{text}.0"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        if ast.literal_eval(repr(value)) == value:
            return repr(value)
    except (ValueError, SyntaxError):
        pass
    raise EditError(f"{value!r} cannot be written as a constant")


def _assigned(source: str) -> dict[str, ast.expr]:
    """The value in the last module-level assignment of each name, if it is ``NAME = ...``."""
    last: dict[str, ast.expr] = {}
    for node in tree_of(source).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or not node.value:
            continue
        names = [n.id for t in targets(node) for n in ast.walk(t) if isinstance(n, ast.Name)]
        for name in names:
            last.pop(name, None)
        plain = isinstance(targets(node)[0], ast.Name) and not isinstance(node, ast.AugAssign)
        if plain and len(names) == 1:
            last[names[0]] = node.value
    return last


def targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> list[ast.expr]:
    """What a statement assigns to."""
    return node.targets if isinstance(node, ast.Assign) else [node.target]


@functools.lru_cache(maxsize=64)
def _comments(source: str) -> dict[int, str]:
    lines = source.split("\n")
    found: dict[int, str] = {}
    for piece in pieces(source):
        for number in range(piece.line, piece.line + piece.text.count("\n")):
            lines[number - 1] = ""
        found |= {piece.line + n - 1: text for n, text in _comments_of(piece.text).items()}
    beside = ((number, line.lstrip()) for number, line in enumerate(lines, 1))
    return found | {number: line for number, line in beside if line.startswith("#")}


@remembered
def _comments_of(text: str) -> dict[int, str]:
    if "#" not in text:
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}


def _domain(comment: str, value: Any) -> Range | Choice | None:
    if not _is_movable(value):
        return None
    if (match := _RANGE.search(comment)) and isinstance(value, int | float):
        low, high, flags = float(match[1]), float(match[2]), match[3].split()
        whole = isinstance(value, int) and all(re.fullmatch(r"[-+]?\d+", match[i]) for i in (1, 2))
        if low < high and math.isfinite(high - low) and (low > 0 or "log" not in flags):
            return Range(low, high, log="log" in flags, integer="int" in flags or whole)
    if match := _CHOICE.search(comment):
        words = match[1].split()
        options = tuple(words if isinstance(value, str) else map(_literal, words))
        return Choice(options) if all(map(_is_movable, options)) else None
    return None


def _is_movable(value: Any) -> bool:
    """Whether a value can be placed, compared and written: no infinity, no list."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def _blocks(old: list[str], new: list[str]) -> tuple[Block, ...]:
    """One block per changed line, widened until it is unique; overlapping blocks are merged."""
    windows: list[tuple[int, int]] = []
    for i in (i for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]):
        start, end = i, i + 1
        while len(places(old, old[start:end])) > 1:
            start, end = max(0, start - 1), min(len(old), end + 1)
        if windows and start < windows[-1][1]:
            start, end = min(start, windows[-1][0]), max(end, windows[-1][1])
            windows.pop()
        windows.append((start, end))
    return tuple(Block(text_of(old[a:b]), text_of(new[a:b])) for a, b in windows)
