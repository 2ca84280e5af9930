"""What an edit changes, in a form that can be compared across trials.

A hunk is a run of changed statements with the statements beside it and the function or class around
it, without comments and layout. Two edits share a hunk if they make the same change at the same
place, even if the rest of the file is different.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import json
import re
from collections.abc import Sequence

from agent.edits.pieces import pieces, remembered
from trainer.source import plain

_NUMBER = re.compile(r"([A-Z][A-Z0-9_]*)(?:: [^=]+)? = ")


_NO_CODE, _WITH_CODE = ast.dump(ast.parse("")), ast.dump(ast.parse("pass"))


def fingerprint(source: str) -> str:
    """SHA-256 of the syntax tree without comments, layout and docstrings, 64 hex digits.

    Raises:
        SyntaxError: the source is not Python.
    """
    statements = ", ".join(filter(None, (_dumped(p.text) for p in pieces(plain(source)))))
    # As ast.dump writes the whole tree, whose hash journals hold.
    whole = _WITH_CODE.replace("Pass()", statements) if statements else _NO_CODE
    return hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()


@remembered
def _dumped(text: str) -> str:
    return dump(ast.parse(text))


def dump(tree: ast.Module) -> str:
    """The statements of ``tree`` in a form to compare; removes the docstrings from ``tree``."""
    remove_texts(tree)
    return ", ".join(map(ast.dump, tree.body))


def canonical_lines(source: str) -> tuple[str, ...]:
    """Lines of a source in plain form as ``ast.unparse`` writes them, without docstrings."""
    return tuple(line for piece in pieces(source) for line in _unparsed(piece.text))


@remembered
def _unparsed(text: str) -> Sequence[str]:
    tree = ast.parse(text)
    remove_texts(tree)
    return tuple(line for line in ast.unparse(tree).split("\n") if line.strip())


Runs = Sequence[tuple[int, int, int, int]]


@functools.lru_cache(maxsize=4)  # hunks and facts ask for the same
def differences(old: Sequence[str], new: Sequence[str]) -> Runs:
    """Start and end, in each of two tuples of lines, of every run in which they differ."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [(a, b, c, d) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def places(parent: str, candidate: str) -> Runs:
    """The same of the lines of two texts, sooner: of lines that repeat others another one may be
    taken for the new one."""
    old, new = parent.split("\n"), candidate.split("\n")
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    found = differences(tuple(old[head : len(old) - tail]), tuple(new[head : len(new) - tail]))
    return [(head + a, head + b, head + c, head + d) for a, b, c, d in found]


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines both begin with."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(old), len(new)))


def remove_texts(tree: ast.AST) -> None:
    """Remove docstrings, and other strings that are statements of their own."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not is_text(statement)]


def is_text(node: ast.AST) -> bool:
    """Whether it is a docstring, or another string that is a statement of its own."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def hunks(parent: str, candidate: str) -> tuple[str, ...]:
    """Digests of the hunks between two sources, in order: ``code:`` or ``number:`` and 16 digits.

    A ``number`` hunk only gives constants other values. Empty if the programs are the same.

    Raises:
        SyntaxError: a source is not Python.
    """
    old, new = canonical_lines(plain(parent)), canonical_lines(plain(candidate))
    found = []
    for i1, i2, j1, j2 in differences(old, new):
        removed, added = old[i1:i2], new[j1:j2]
        place = (_scope(old, i1), "".join(old[i1 - 1 : i1]), "".join(old[i2 : i2 + 1]))
        written = json.dumps([place, removed, added])
        digest = hashlib.sha256(written.encode()).hexdigest()[:16]
        found.append(f"{'number' if _sets_numbers(removed, added) else 'code'}:{digest}")
    return tuple(found)


def _scope(lines: Sequence[str], at: int) -> str:
    """The unindented line above, if it opens a block."""
    above = next((line for line in reversed(lines[:at]) if not line.startswith(" ")), "")
    return above if above.endswith(":") else ""


def _sets_numbers(removed: Sequence[str], added: Sequence[str]) -> bool:
    names = [
        [m[1] if (m := _NUMBER.match(line)) else "" for line in side] for side in (removed, added)
    ]
    return names[0] == names[1] and all(names[0])
