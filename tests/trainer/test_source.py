"""source.py: a program is the same in its plain form, and gets its own form back."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.source import in_form_of, not_utf8, plain

TEXT = st.lists(st.sampled_from(["a = 1", "b = 2", "", "\f", "\tc = 3 ", "# é\u2028"])).map(
    "\n".join
)
FORMS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "BOM": lambda text: "\ufeff" + text,
    "CRLF and BOM": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "first line CRLF": lambda text: text.replace("\n", "\r\n", 1),
    "mixed": lambda text: text.replace("1\n", "1\r\n").replace("2\nb", "2\rb"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(text=TEXT, other=TEXT)
def test_a_form_is_taken_off_and_given_back(
    form: Callable[[str], str], text: str, other: str
) -> None:
    original = form(text)
    assert plain(original) == text
    assert in_form_of(original, text) == in_form_of(original, original) == original
    assert plain(in_form_of(original, other)) == other, "only the form is another"


@given(st.text("ab\r\n\f"), TEXT)
def test_any_mixture_of_line_ends(original: str, other: str) -> None:
    assert in_form_of(original, plain(original)) == original
    assert plain(in_form_of(original, other)) == other


@pytest.mark.parametrize(
    ("original", "edited", "expected"),
    [
        ("a\r\nb\r\n", "a\nx\nb\n", "a\r\nx\r\nb\r\n"),
        ("a\r\nb", "a\nb\nc\n", "a\r\nb\r\nc\r\n"),
        ("a\nb\r\nc\n", "a\nx\nc\n", "a\nx\r\nc\n"),  # a line changed
        ("a\nb\r\nc\n", "a\nb\nx\nc\n", "a\nb\r\nx\r\nc\n"),  # a line added
        ("a\r\nb\nc\r\n", "b\nc\n", "b\nc\r\n"),  # a line gone
        ("a\r\nb\nc", "new\na\nb\nc\nd\n", "new\r\na\r\nb\nc\nd\n"),  # at both ends
        ("\ufeffa\rb\r", "", "\ufeff"),
        ("", "a\n", "a\n"),
        ("a", "b\nc", "b\nc"),
    ],
)
def test_the_end_of_a_new_line(original: str, edited: str, expected: str) -> None:
    assert in_form_of(original, edited) == expected


def test_python_reads_the_plain_form_as_the_same_program() -> None:
    source = 'x = """a\r\nb\rc"""\r\ny = 1\rz = 2\n'
    assert ast.dump(ast.parse(source)) == ast.dump(ast.parse(plain(source)))


def test_what_is_not_utf8_is_told_with_its_line() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"# coding: latin-1\nx = '\xe9'\n".decode()
    assert not_utf8(caught.value).startswith("line 2 is not UTF-8 (byte 0xe9): save the file as")
