"""A file that a program has edited, written as a reply: what is read back is that file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.edits.blocks import EditError, parse
from agent.edits.edited import as_reply
from trainer.source import plain

OLD = "import torch\n\n# === schedule ===\nRATE = 0.1  # peak\nRATE = 0.1  # peak\n\nx = 1\nx = 1\n"
SAID = "title: a\ncategory: schedule\nhypothesis: b\n"
BLOCK = "<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE\n"
RULES = "title: what the edit does\ncategory: the category that you are asked for\n" + BLOCK


def reply(said: str, old: str = OLD, new: str = OLD.replace("torch", "numpy")) -> str:
    return as_reply(said, old, new, category="schedule", rules=RULES)


@pytest.mark.parametrize(
    ("said", "title", "category", "hypothesis"),
    [
        (SAID, "a", "schedule", "b"),
        ("", "edit: nothing", "schedule", "none; it printed: nothing"),
        (
            "I swapped the library.\nDone.",
            "edit: I swapped the library. Done.",
            "schedule",
            "none; it printed: I swapped the library. Done.",
        ),
        ("title: a\n", "a", "schedule", "none; it printed: title: a"),
        (SAID + "sign: s\nexhausted: data: no\nDone.", "a", "schedule", "b"),
        ("hypothesis: as\nit is\n\nTokens: 3", "as it is", "schedule", "as it is"),
        (RULES + SAID, "a", "schedule", "b"),
        (RULES, "edit: nothing", "schedule", "none; it printed: nothing"),
        ("title: old\ncategory: optimizer\n" + SAID, "a", "schedule", "b"),
        ("**Title:** a\n**Category:** `data`\n**Hypothesis:** b\n", "a", "data", "b"),
        (SAID + "```\ntrainer/other.py\n<<<<<<< SEARCH\nx = 1\n=======\n", "a", "schedule", "b"),
        (SAID + SAID.replace(": a", ": z") + "sign: z\n" + BLOCK, "a", "schedule", "b"),
        (SAID + BLOCK + SAID.replace(": a", ": z") + "sign: z\n" + BLOCK, "a", "schedule", "b"),
        ("<think>\ntitle: no\n</think>\n" + SAID, "a", "schedule", "b"),
    ],
)  # fmt: skip
def test_fields_are_taken_from_what_was_printed(
    said: str, title: str, category: str, hypothesis: str
) -> None:
    edit = parse(reply(said))
    assert (edit.title, edit.category, edit.hypothesis) == (title, category, hypothesis)
    assert edit.apply(OLD) == OLD.replace("torch", "numpy")
    assert edit.sign in ("", "s")


def test_blocks_are_as_short_as_they_can_be_found() -> None:
    written = reply(
        SAID, new=OLD.replace("torch", "numpy").replace("x = 1\nx = 1\n", "x = 1\nx = 2\n")
    )
    assert written.count("SEARCH") == 2
    assert "SEARCH\nimport torch\n\n=======\nimport numpy\n\n>>>" in written
    assert "# === schedule" not in written


@pytest.mark.parametrize("form", ["\ufeff{}", "crlf", "{}"])
def test_form_of_the_lines_is_the_old_file_s(form: str) -> None:
    old = OLD.replace("\n", "\r\n") if form == "crlf" else form.format(OLD)
    edited = parse(reply(SAID, old, OLD.replace("torch", "numpy"))).apply(old)
    assert edited == old.replace("torch", "numpy")


LINES = st.lists(
    st.sampled_from(["a = 1", "    c = 3", "c = 3", "", "=======", "```", "title: x"]),
    min_size=1,
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(LINES, LINES)
def test_what_is_read_back_is_the_file_or_a_reason(old: list[str], new: list[str]) -> None:
    before, after = "\n".join([*old, "x"]) + "\n", "\n".join([*new, "y"]) + "\n"
    try:
        edited = parse(reply(SAID, before, after)).apply(before)
    except EditError:
        assert "=======" in old + new or "```" in old + new
        return
    assert plain(edited) == after


def test_a_marker_in_the_file_goes_back_with_its_reason() -> None:
    with pytest.raises(EditError, match=r"not closed: line \d+ of the reply opens another"):
        parse(reply(SAID, new=OLD + "<<<<<<< SEARCH\n"))
