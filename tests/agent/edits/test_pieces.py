"""What is put together from the pieces of a source is what the whole of it gives."""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
from pathlib import Path

import pytest
from samples import SOURCE

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
