"""A source in pieces: its top-level statements, of which an edit changes few.

Nearly all pieces of a candidate are its champion's too. So what is asked of a source is asked of
its pieces and remembered by their text: an edit costs what it changes, not the file's length.
"""

from __future__ import annotations

import ast
import functools
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


@functools.lru_cache(maxsize=4)  # champion and candidate, asked for a dozen times
def _parsed(source: str) -> tuple[ast.Module, tuple[Piece, ...]]:
    try:
        tree = ast.parse(source)
    except ValueError as error:  # a NUL, or half of a character
        raise SyntaxError(str(error)) from error
    lines, spans = source.split("\n"), list[list[int]]()
    for node in tree.body:
        first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
        last = node.end_lineno or first
        while lines[last - 1].endswith("\\") and last < len(lines):  # joined with the next line
            last += 1
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(last, spans[-1][1])
        else:
            spans.append([first, last])
    return tree, tuple(Piece("\n".join([*lines[a - 1 : b], ""]), a) for a, b in spans)


def tree_of(source: str) -> ast.Module:
    """The syntax tree of a source in plain form, which nobody may change.

    Raises:
        SyntaxError: the source is not Python. MemoryError, RecursionError: it is nested too deeply.
    """
    return _parsed(source)[0]


def pieces(source: str) -> tuple[Piece, ...]:
    """The pieces of a source in plain form, in order; raises what ``tree_of`` raises."""
    return _parsed(source)[1]
