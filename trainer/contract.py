"""Checks what the text of train.py must contain. Nothing is executed.

``train`` may return before ``session.done()`` says so: ``train_seconds``, ``tokens`` and ``spent``
of the measurement are then what it took, by the parent's clock.

A budget of tokens counts those that are read to be trained on: what ``session.consumed`` is told,
or what ``session.batch`` has handed out if that is more. Rows that are cut without ``batch`` are to
be told. Free for every file alike are further passes over a batch that was counted, and looking at
``data.sources`` without training on it, as to count, sort or choose: neither can be seen from
outside. They take time, which has its bound under a budget of tokens, too: ``presets.wall_cap``,
260 s at the cpu preset.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.errors import UserError
from trainer.presets import LADDER
from trainer.source import plain

MAX_SOURCE_BYTES = 60_000


class ContractBroken(UserError):
    """train.py does not keep the contract; the message says where."""


@dataclass(frozen=True)
class Spec:
    """Shapes that the scorer requires of the model: VOCAB_SIZE and SEQ_LEN of train.py."""

    vocab_size: int
    seq_len: int


@dataclass(frozen=True)
class Code:
    """A train.py, and on what it computes."""

    source: str
    spec: Spec
    device: str
    threads: int


def read(source: str, max_seq_len: int, parse: Callable[[str], ast.Module] = ast.parse) -> Spec:
    """Check the text of a train.py and read its shapes.

    Args:
        parse: makes the syntax tree of a source in plain form, or knows it already.

    Raises:
        ContractBroken: it does not parse, is too long, lacks a literal ``VOCAB_SIZE`` on the ladder
            or a literal ``SEQ_LEN`` within bounds, or lacks ``build_model`` or ``train``.
    """
    source = plain(source)
    size = len(source.encode(errors="replace"))
    if size > MAX_SOURCE_BYTES:
        raise ContractBroken(f"train.py has {size} bytes; at most {MAX_SOURCE_BYTES} are allowed")
    try:
        tree = parse(source)
    except SyntaxError as error:
        line = f" line {error.lineno}" if error.lineno else ""
        raise ContractBroken(f"train.py{line}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        what = str(error) or type(error).__name__
        raise ContractBroken(f"train.py does not parse: {what}") from None
    vocab_size = _literal_int(tree, "VOCAB_SIZE")
    if vocab_size not in LADDER:
        rungs = ", ".join(map(str, LADDER))
        raise ContractBroken(f"VOCAB_SIZE = {vocab_size} is no rung of the ladder: {rungs}")
    seq_len = _literal_int(tree, "SEQ_LEN")
    if not 1 <= seq_len <= max_seq_len:
        raise ContractBroken(f"SEQ_LEN = {seq_len} is not within 1..{max_seq_len}")
    for name in ("build_model", "train"):
        if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
            raise ContractBroken(f"train.py has no function {name} at module level")
    return Spec(vocab_size, seq_len)


def constants(source: str) -> dict[str, Any]:
    """The literal values of module-level constants of a train.py that parses, by name."""
    found = {}
    for node in ast.parse(plain(source)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):  # not a literal
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def trains_in_mixed_precision(source: str) -> bool:
    """Whether a train.py that parses uses ``session.precision()``: then it is scored under it."""
    nodes = ast.walk(ast.parse(source))
    return any(isinstance(node, ast.Attribute) and node.attr == "precision" for node in nodes)


def _literal_int(tree: ast.Module, name: str) -> int:
    """The literal value of the constant ``name``; the last module-level assignment counts."""
    value: ast.expr | None = None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            value = node.value
    if not (isinstance(value, ast.Constant) and type(value.value) is int):
        raise ContractBroken(f"train.py must set {name} to a literal whole number at module level")
    return value.value
