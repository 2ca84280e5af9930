"""Static checks that an edit must pass before a budget is spent on it.

Nothing is executed here; the smoke run in the sandbox comes after. ``blocks`` refuses an edit that
names another file. ``trainer.contract`` checks what the harness itself requires of train.py.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Any

from pyflakes import checker
from pyflakes.messages import UndefinedLocal, UndefinedName

from agent.edits.changes import dump, fingerprint, is_text, places
from agent.edits.constants import sections, targets
from agent.edits.facts import sets_numbers
from agent.edits.pieces import Piece, pieces, remembered, tree_of
from trainer import contract
from trainer.source import plain

MAX_LINES_ADDED = 400
MAX_BYTES_ADDED = 20_000
MAX_LITERALS = 4_000
"""Characters in all new literals of an edit together."""
_LIMITS = {
    "str": (500, "a string of {} characters"),
    "bytes": (500, "a string of {} characters"),
    "docstring": (2_000, "a string of {} characters"),
    "int": (34, "a whole number of {} characters in hexadecimal"),
    "items": (64, "a collection of {} literals"),
}
"""The most characters in one new literal, by kind; in one new collection the most literals, nested
ones counted."""

_SEEDERS = frozenset(
    {"seed", "manual_seed", "manual_seed_all", "default_rng"}
    | {"Random", "RandomState", "SeedSequence", "PCG64"}
)
_POSTPONED = re.compile(r"^from __future__ import .*\bannotations\b", re.MULTILINE)


class Rejected(Exception):
    """The edit is not worth a training; the message begins with a fixed name for the reason."""


def check(
    parent: str,
    candidate: str,
    *,
    max_seq_len: int,
    tried: Container[str] = (),
) -> str:
    """Check an edit that made ``candidate`` of ``parent``, both whole sources.

    Args:
        max_seq_len: the preset's bound on SEQ_LEN.
        tried: fingerprints of all sources that were trained before.

    Returns:
        The candidate's fingerprint.

    Raises:
        Rejected: the first check that fails.
    """
    parent, candidate = plain(parent), plain(candidate)
    _refuse_growth(parent, candidate)
    try:
        if is_new_code := not _sets_numbers(parent, candidate):
            _refuse_uncompilable(candidate)
        contract.read(candidate, max_seq_len, tree_of)
        _refuse_arity(candidate)
        found = fingerprint(candidate)
        if found == fingerprint(parent):
            raise Rejected("comments or formatting only: the program that it makes is the same")
        refuse_tried(found, tried)
        if _without_seeds(parent) == _without_seeds(candidate):
            raise Rejected("seed only: nothing else changes, and luck is no improvement")
        _refuse_payload(parent, candidate)
        if is_new_code:
            _refuse_undefined_names(parent, candidate)
    except contract.ContractBroken as broken:
        raise Rejected(f"contract: {broken}") from None
    except RecursionError:
        raise Rejected("contract: train.py is nested too deeply to be read") from None
    return found


def refuse_tried(digest: str, tried: Container[str]) -> None:
    """
    Raises:
        Rejected: a program with this fingerprint was trained, or is about to be.
    """
    if digest in tried:
        raise Rejected("already tried: the same program was trained in this campaign")


def sections_touched(parent: str, candidate: str) -> frozenset[str]:
    """Sections of the lines that differ, in either file; "" for lines above the first banner.

    Raises:
        SyntaxError: a source is not Python.
    """
    before, after = sections(parent), sections(candidate)
    touched: set[str] = set()
    for i1, i2, j1, j2 in places(parent, candidate):
        touched |= {*before[i1:i2], *after[j1:j2]}
    return frozenset(touched)


def _refuse_growth(parent: str, candidate: str) -> None:
    lines = candidate.count("\n") - parent.count("\n")
    if lines > MAX_LINES_ADDED:
        raise Rejected(f"too large: {lines} more lines; at most {MAX_LINES_ADDED} in one edit")
    size = len(candidate) - len(parent)
    if size > MAX_BYTES_ADDED:
        raise Rejected(f"too large: {size} more characters; at most {MAX_BYTES_ADDED} in one edit")


def _sets_numbers(parent: str, candidate: str) -> bool:
    """Whether it has no other code than its parent, which compiles, and no other names."""
    try:
        return sets_numbers(parent, candidate)
    except (SyntaxError, RecursionError, MemoryError):
        return False


def _refuse_uncompilable(candidate: str) -> None:
    """Refuse a source that parses but does not compile, as with a return outside a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(candidate, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f" line {error.lineno}" if error.lineno else ""  # none of a NUL
        raise Rejected(f"does not compile: train.py{line}: {error.msg}") from None
    except (ValueError, MemoryError) as error:
        raise Rejected(f"does not compile: {error}") from None


def _refuse_arity(candidate: str) -> None:
    for node in tree_of(candidate).body:
        if isinstance(node, ast.FunctionDef) and node.name in ("build_model", "train"):
            given = [*node.args.posonlyargs, *node.args.args]
            required = len(given) - len(node.args.defaults)
            by_name = [d for d in node.args.kw_defaults if d is None]
            if by_name or required > 1 or not (given or node.args.vararg):
                raise Rejected(
                    f"contract: train.py line {node.lineno}: {node.name} is called with one "
                    "positional argument"
                )


class _SeedBlind(ast.NodeTransformer):
    """Removes code that only chooses the random numbers."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _called(node) in _SEEDERS:
            node.args, node.keywords = [], []
        for keyword in node.keywords:
            if keyword.arg and _is_seed(keyword.arg):
                keyword.value = ast.Constant(0)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        self.generic_visit(node)
        seeds = isinstance(node.value, ast.Call) and _called(node.value) in _SEEDERS
        return None if seeds else node

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if all(isinstance(target, ast.Name) and _is_seed(target.id) for target in targets(node)):
            node.value = ast.Constant(0)
        return node

    visit_AnnAssign = visit_Assign


def _without_seeds(source: str) -> list[str]:
    return [dumped for piece in pieces(source) if (dumped := _seed_blind(piece.text))]


@remembered
def _seed_blind(text: str) -> str:
    return dump(_SeedBlind().visit(ast.parse(text)))


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_seed(name: str) -> bool:
    return "seed" in name.lower().split("_")


def _refuse_payload(parent: str, candidate: str) -> None:
    """Refuse data that is stored in the file instead of being learnt: weights, tables, text."""
    left, added = Counter(piece.text for piece in pieces(parent)), list[Piece]()
    for piece in pieces(candidate):
        if left[piece.text]:  # both have it
            left[piece.text] -= 1
        else:
            added.append(piece)
    literals = [(key, piece.line + at) for piece in added for key, at in _literals(piece.text)]
    new = Counter(key for key, _ in literals)
    new -= Counter(key for text in left.elements() for key, _ in _literals(text))
    lines = dict(literals)
    total = 0
    for (kind, text), count in new.items():
        size = int(text) if kind == "items" else len(text)
        limit, what = _LIMITS.get(kind, (size, ""))
        if size > limit:
            where = f"train.py line {lines[kind, text]}"
            raise Rejected(
                f"high-entropy literals: {where} has {what.format(size)}; at most {limit}"
            )
        total += 0 if kind == "items" else count * size  # items are literals themselves
    if total > MAX_LITERALS:
        raise Rejected(
            f"high-entropy literals: {total} characters of new literals; at most {MAX_LITERALS}"
        )


@remembered
def _literals(text: str) -> Sequence[tuple[tuple[str, str], int]]:
    """Kind and text of each literal and each collection of a piece, and its line in it from 0."""
    return tuple(_literals_of(ast.parse(text)))


def _literals_of(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and is_text(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            value = node.value
            kind = "docstring" if id(node) in docstrings else type(value).__name__
            # Hexadecimal, because Python refuses to print very long integers in decimal.
            text = hex(value) if isinstance(value, int) else str(value)
            yield (
                (kind, value.decode("latin-1") if isinstance(value, bytes) else text),
                node.lineno - 1,
            )
        elif isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            count = sum(isinstance(inner, ast.Constant) for inner in ast.walk(node))
            yield ("items", str(count)), node.lineno - 1


def _remove_annotations(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(None), node.annotation)


def _refuse_undefined_names(parent: str, candidate: str) -> None:
    known = {name for _, name, _ in _undefined_names(parent)}
    for line, name, message in _undefined_names(candidate):
        if name not in known:
            raise Rejected(f"undefined name: train.py line {line}: {message}")


@functools.lru_cache(maxsize=4)  # the champion's are the same in each trial
def _undefined_names(source: str) -> Sequence[tuple[int, str, str]]:
    """Line, name and message of each name whose use would raise NameError, by pyflakes."""
    tree = ast.parse(source)
    if _POSTPONED.search(source):
        _remove_annotations(tree)  # which are then never evaluated
    messages: list[Any] = checker.Checker(tree, "train.py").messages
    return sorted(
        (message.lineno, str(message.message_args[0]), message.message % message.message_args)
        for message in messages
        if isinstance(message, UndefinedName | UndefinedLocal)
    )
