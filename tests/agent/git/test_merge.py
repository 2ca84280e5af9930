"""Three-way merges of a train.py: what is taken, and what is said of conflicts."""

from __future__ import annotations

import pytest

from agent.git.merge import merge

BASE = "A = 1\nB = 2\nC = 3\n\n\ndef f():\n    return A\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        (BASE, "x = 0\n", "x = 0\n"),
        ("x = 0\n", BASE, "x = 0\n"),
        (BASE.replace("1", "9"), BASE.replace("return A", "return B"), None),
        (BASE.replace("A = 1", "A = 9"), BASE.replace("B = 2", "B = 8"), None),
        (BASE.replace("A = 1", "A = 9"), BASE.replace("A = 1\nB = 2", "A = 9\nB = 8"), None),
        (BASE, "\ufeff" + BASE.replace("3", "4").replace("\n", "\r\n"), None),
        (BASE.rstrip("\n"), BASE.replace("3", "4"), None),
    ],
    ids=["theirs", "ours", "apart", "neighbours", "the same and more", "CRLF and mark", "no end"],
)
def test_both_changes_are_taken(ours: str, theirs: str, merged: str | None) -> None:
    text, conflicts = merge(ours, BASE, theirs)
    assert not conflicts
    if merged is not None:
        assert text == merged
    else:  # each line is of the side that changed it
        sides = [side.removeprefix("\ufeff").splitlines() for side in (ours, theirs)]
        rows = zip(*sides, BASE.splitlines(), strict=True)
        assert text.splitlines() == [b if a == c else a for a, b, c in rows]
        assert text.endswith("\n") and "\r" not in text


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("B = 5", "B = 6", "line 2 ('B = 6') is 'B = 5' there"),
        ("", "B = 6", "line 2 ('B = 6') is 'deleted' there"),
        ("B = 5", "B = 6\nMORE = 1", "line 2 ('B = 6') is 'B = 5' there"),
    ],
)
def test_a_conflict_is_told_with_its_lines(ours: str, theirs: str, words: str) -> None:
    text, conflicts = merge(BASE.replace("B = 2", ours), BASE, BASE.replace("B = 2", theirs))
    assert conflicts == [words]
    assert "<<<<" in text
