"""What is put together from the pieces of a source is what the whole of it gives."""

from __future__ import annotations

import ast
import hashlib
import io
import random
import re
import tokenize
from pathlib import Path

import pytest
from samples import SOURCE

from agent.edits import pieces as module
from agent.edits.changes import canonical_lines, fingerprint, remove_texts
from agent.edits.checks import Rejected, check
from agent.edits.constants import _comments
from agent.edits.pieces import pieces, tree_of

SHIPPED = Path(__file__).parents[3] / "trainer" / "train.py"
ODD = """'''Text.'''; a = 1; b = 2  # === x ===
# === optimizer ===
if a:
    # inside
# at the margin
    b = 3  \\

c = '''
# === no comment ===
'''  # behind
@one
@two
def f(x):
    "text"
class A: pass  # \\
d = (4,  # in brackets
)
    # indented, after all"""


@pytest.mark.parametrize(
    "source", [SHIPPED.read_text(), SOURCE, ODD, "", "'''text'''\n", "\f\nx = 1\n"]
)
def test_the_pieces_give_what_the_whole_gives(source: str) -> None:
    tree = ast.parse(source)
    remove_texts(tree)
    assert fingerprint(source) == hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    assert list(canonical_lines(source)) == [n for n in ast.unparse(tree).split("\n") if n.strip()]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    assert _comments(source) == {t.start[0]: t.string for t in tokens if t.string[:1] == "#"}


def test_an_edit_leaves_all_other_pieces_as_they_are() -> None:
    source = SHIPPED.read_text()
    other = source.replace("MATRIX_LR = ", "MATRIX_LR = 3 * ", 1)
    assert len({p.text for p in pieces(other)} - {p.text for p in pieces(source)}) == 1
    assert len(pieces(source)) > 50


def test_two_statements_of_a_line_are_one_piece() -> None:
    assert [p.line for p in pieces("a = 1; b = 2\nc = 3\n")] == [1, 2]


@pytest.mark.parametrize("source", ["x = '\0'\n", "x = '\ud800'\n", "def f(:\n"])
def test_what_is_no_python_is_a_syntax_error(source: str) -> None:
    with pytest.raises(SyntaxError):
        tree_of(source)


def test_other_numbers_are_checked_as_any_edit() -> None:
    """They are not compiled again, but their size is."""
    source, big = SHIPPED.read_text(), "MATRIX_LR = 1" + 40 * "0"
    with pytest.raises(Rejected, match="whole number"):
        check(source, re.sub(r"^MATRIX_LR = \S+", big, source, flags=re.M), max_seq_len=1024)
    with pytest.raises(Rejected, match="does not compile"):
        check(source, source + "return 5\n", max_seq_len=1024)


MANY = """x = 1
y = 2  # rate; range 1..3
name = "a"; other = 3
wide: int = 4
long = (1,
2)
text = '''
z = 5
'''
a = 1 + \\
2
if x:
    y = 3
def f():
    return x
last = 9"""
LINES = (
    *("x = 7", "x = 0x10  # hex", "wide: int = 5", "x = y = 3", "x = 'a'", "x = 1;", "x = \u00e9"),
    *("x = yield", "x = 1; y = 2", "", "# x = 1", " x = 1", "x = (", "x = '''", "'''", "x = 1 \\"),
    *("x = 1  # \\", "x = '\0'", "x = '\ud800'", "\fx = 1", "x", "x += 1", "@x", "import os"),
    *("else: x = 1", "if y: x = 1", "x = 1 if", "def f(): pass", "x = " + 300 * "["),
)


def _found(source: str) -> tuple[object, ...]:
    try:
        return ast.dump(tree_of(source), include_attributes=True), pieces(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        return type(error), str(error)


def _as_a_whole(source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    module._parsed.cache_clear()
    monkeypatch.setattr(module, "_whole", None)
    return _found(source)


def test_other_constants_are_read_as_if_the_whole_file_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice, kept = random.Random(1), MANY.split("\n")
    for _ in range(2000):
        lines = list(kept)
        for _ in range(dice.randint(1, 3)):
            lines[dice.randrange(len(lines))] = dice.choice((*LINES, *kept))
        if dice.random() < 0.1:
            del lines[dice.randrange(len(lines))]
        source = "\n".join(lines)
        expected = _as_a_whole(source, monkeypatch)
        _as_a_whole(MANY, monkeypatch)
        assert _found(source) == expected, source


def test_a_source_is_parsed_as_a_whole_once_for_all_its_constants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = SHIPPED.read_text()
    _as_a_whole(source, monkeypatch)
    monkeypatch.setattr(module, "_parse", lambda *_: pytest.fail("the whole was parsed again"))
    for number in range(20):
        other = re.sub(r"^(MATRIX_LR|SIZE_EXPONENT) = \S+", rf"\1 = 0.{number}", source, flags=re.M)
        assert f"MATRIX_LR = 0.{number} " in "".join(piece.text for piece in pieces(other))
