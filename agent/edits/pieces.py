"""A source in pieces: its top-level statements, of which an edit changes few.

Nearly all pieces of a candidate are its champion's too. So what is asked of a source is asked of
its pieces and remembered by their text: an edit costs what it changes, not the file's length.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
REMEMBERED = 1000
"""Pieces; a long file has 300."""


@dataclass(frozen=True)
class Piece:
    """Whole lines that hold a top-level statement, or a few that share a line."""

    text: str
    """Ends with a line feed."""
    line: int
    """Number of the first line in the file, from 1."""


def remembered(of_text: Callable[[str], T]) -> Callable[[str], T]:
    """A function of a piece's text that is computed once for each text."""
    return functools.lru_cache(maxsize=REMEMBERED)(of_text)


@dataclass(frozen=True)
class _Parsed:
    tree: ast.Module
    pieces: tuple[Piece, ...]
    lines: list[str]

    @functools.cached_property
    def assignments(self) -> dict[int, tuple[int, int]]:
        """By its line: where an assignment that has a line of its own is among the statements of
        the tree, and among the pieces."""
        single = (place for place in enumerate(self.pieces) if place[1].text.count("\n") == 1)
        places = {piece.line: k for k, piece in single}
        counts = Counter(node.lineno for node in self.tree.body)
        return {
            node.lineno: (k, places[node.lineno])
            for k, node in enumerate(self.tree.body)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            if node.lineno in places and counts[node.lineno] == 1
        }


_whole: _Parsed | None = None
"""The source that was parsed last as a whole: a champion, or the first candidate made of it."""


@functools.lru_cache(maxsize=4)  # champion and candidate, asked for a dozen times
def _parsed(source: str) -> _Parsed:
    global _whole
    lines = source.split("\n")
    if _whole is None or (found := _with_lines(_whole, lines)) is None:
        found = _whole = _parse(source, lines)
    return found


def _with_lines(known: _Parsed, lines: list[str]) -> _Parsed | None:
    """What parsing these lines gives, where all that is new are the values of constants, each on a
    line of its own; else None. Most edits are such, and to parse a file takes 10 milliseconds."""
    if len(lines) != len(known.lines):
        return None
    body, parts = list(known.tree.body), list(known.pieces)
    for number, (new, old) in enumerate(zip(lines, known.lines, strict=True), 1):
        if new == old:
            continue
        place = known.assignments.get(number)
        if place is None or new.endswith("\\"):
            return None
        try:
            (node,) = ast.parse(new).body
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
        body[place[0]] = ast.increment_lineno(node, number - 1)
        parts[place[1]] = Piece(f"{new}\n", number)
    return _Parsed(ast.Module(body, []), tuple(parts), lines)


def _parse(source: str, lines: list[str]) -> _Parsed:
    try:
        tree = ast.parse(source)
    except ValueError as error:  # a NUL, or half of a character
        raise SyntaxError(str(error)) from error
    spans = list[list[int]]()
    for node in tree.body:
        first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
        last = node.end_lineno or first
        while lines[last - 1].endswith("\\") and last < len(lines):  # joined with the next line
            last += 1
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(last, spans[-1][1])
        else:
            spans.append([first, last])
    found = tuple(Piece("\n".join([*lines[a - 1 : b], ""]), a) for a, b in spans)
    return _Parsed(tree, found, lines)


def tree_of(source: str) -> ast.Module:
    """The syntax tree of a source in plain form, which nobody may change.

    Raises:
        SyntaxError: the source is not Python. MemoryError, RecursionError: it is nested too deeply.
    """
    return _parsed(source).tree


def pieces(source: str) -> tuple[Piece, ...]:
    """The pieces of a source in plain form, in order; raises what ``tree_of`` raises."""
    return _parsed(source).pieces
