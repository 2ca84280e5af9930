"""hunks.py: the same change at the same place is met again, and nothing else is."""

from __future__ import annotations

import pytest
from replies import BRANCH, LONGER, PARENT, UP

from agent.edits.changes import hunks

OTHER = (
    "    torch.manual_seed(session.seed)\n",
    "    torch.manual_seed(session.seed)\n    a = 1\n",
)
NUMBER, CODE = LONGER, BRANCH


def changed(*pairs: tuple[str, str], source: str = PARENT) -> str:
    for old, new in pairs:
        assert source.count(old) == 1
        source = source.replace(old, new)
    return source


# --- what is one hunk ---


def test_each_run_of_changed_statements_is_a_hunk() -> None:
    assert hunks(PARENT, PARENT) == ()
    found = hunks(PARENT, changed(NUMBER, CODE, OTHER))
    assert [hunk.partition(":")[0] for hunk in found] == ["code", "number", "code"]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "same",
    [
        CODE[1] + "        # a remark\n",
        CODE[1].replace("x + 2 *", "x  +  (2) *"),
        CODE[1].replace("        if DEPTH > 2:\n", "        if DEPTH > 2:  # now\n\n"),
    ],
)
def test_comments_and_layout_make_no_other_hunk(same: str) -> None:
    assert hunks(PARENT, changed((CODE[0], same))) == hunks(PARENT, changed(CODE))


def test_what_changed_elsewhere_makes_no_other_hunk() -> None:
    later = changed(OTHER)
    assert hunks(later, changed(CODE, source=later)) == hunks(PARENT, changed(CODE))


def test_the_same_lines_at_another_place_are_another_hunk() -> None:
    one = ("        x = self.embed(ids)\n", "        x = self.embed(ids)\n        ids = 0\n")
    two = ("        return 0.0\n", "        ids = 0\n        return 0.0\n")
    assert hunks(PARENT, changed(one)) != hunks(PARENT, changed(two))


def test_the_same_lines_in_another_function_are_another_hunk() -> None:
    body = "    y = x\n    return y\n"
    parent = f"def one(x):\n{body}\ndef two(x):\n{body}"
    longer = body.replace("return", "y = 2 * y\n    return")
    first = parent.replace(f"one(x):\n{body}", f"one(x):\n{longer}")
    second = parent.replace(f"two(x):\n{body}", f"two(x):\n{longer}") + "z = 1\n"
    assert hunks(parent + "z = 1\n", first + "z = 1\n") != hunks(parent + "z = 1\n", second)


def test_only_other_values_of_constants_are_numbers() -> None:
    for new in ("WARMUP = 0.1  # range 0..1\nX = 1\n", "X = 1\n", "", "def f():\n    return 1\n"):
        assert hunks(PARENT, changed((UP, new)))[0].startswith("code:"), new
    both = changed((UP + LONGER[0], "WARMUP = 0.2\nWARMDOWN = 0.7\n"))
    assert hunks(PARENT, both)[0].startswith("number:")
