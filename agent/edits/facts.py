"""What the judge has to know about an edit: its size, its kind, and whether it moves the loss."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from agent.edits.changes import canonical_lines, differences, digest
from trainer.source import plain

_LOSS = re.compile(
    r"loss|entropy|\blog\b|consumed|dropout|smooth|mixture|sources|penalty", re.IGNORECASE
)


@dataclass(frozen=True)
class EditFacts:
    """See the fields of the same names in ``campaign.records.Trial``."""

    size_delta: int
    """Statements of the candidate less those of its parent; 0 if it has fewer of them, but no fewer
    nodes in its syntax tree: then statements were only put together."""
    sets_numbers: bool
    """Whether module-level numbers are all that differs."""
    hides_loss: bool
    """Whether a statement about the loss, what is logged or what is read differs: the logged losses
    of candidate and champion may then be different quantities."""


def edit_facts(parent: str, candidate: str) -> EditFacts:
    """Compare two sources.

    Raises:
        SyntaxError: a source is not Python.
    """
    old, new = ast.parse(plain(parent)), ast.parse(plain(candidate))
    before, after = canonical_lines(old), canonical_lines(new)  # removes docstrings from both
    size_delta = _count(new, ast.stmt) - _count(old, ast.stmt)
    if size_delta < 0 and _count(new, ast.AST) >= _count(old, ast.AST):
        size_delta = 0
    changed = [
        line
        for i1, i2, j1, j2 in differences(before, after)
        for line in (*before[i1:i2], *after[j1:j2])
    ]
    for tree in (old, new):
        _forget_numbers(tree)
    return EditFacts(
        size_delta=size_delta,
        sets_numbers=digest(old) == digest(new),
        hides_loss=any(_LOSS.search(line) for line in changed),
    )


def _count(tree: ast.AST, kind: type[ast.AST]) -> int:
    return sum(isinstance(node, kind) for node in ast.walk(tree))


def _forget_numbers(tree: ast.Module) -> None:
    """Set all numbers that module-level statements assign to 0."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_number(node.value):
            node.value = ast.Constant(0)


def _is_number(node: ast.expr | None) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)
