"""hunks.py: the same change at the same place is met again, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from replies import BRANCH, LONGER, PARENT, UP

from agent.campaign.records import Trial
from agent.edits.blocks import Block, Edit
from agent.edits.changes import hunks, lost_before
from agent.edits.checks import Rejected, check

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


def trial(*pairs: tuple[str, str], **fields: Any) -> Trial:
    usual: dict[str, Any] = {
        "verdict": "revert", "status": "ok", "gain": -0.02, "gain_half": 0.01, "title": "an idea",
        "hunks": hunks(PARENT, changed(*pairs)),
    }  # fmt: skip
    return Trial(3, **(usual | fields))


def lost(past: Trial, *pairs: tuple[str, str], parent: str = PARENT) -> bool:
    return lost_before(hunks(parent, changed(*pairs, source=parent)), [Trial(0), past]) is past


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


# --- what is not tried again ---


@pytest.mark.parametrize("pairs", [(NUMBER,), (CODE,), (NUMBER, CODE)])
@pytest.mark.parametrize("parent", [PARENT, changed(OTHER)])
def test_what_lost_does_not_come_back_on_any_champion(
    pairs: tuple[tuple[str, str], ...], parent: str
) -> None:
    assert lost(trial(*pairs), *pairs, parent=parent)
    failed = {"status": "crashed", "gain": None, "gain_half": None}
    assert lost(trial(*pairs, **failed), *pairs, parent=parent)
    assert lost(trial(*pairs, status="abandoned"), *pairs, parent=parent), "it was hopeless"


def test_code_that_lost_does_not_come_back_beside_other_changes() -> None:
    assert lost(trial(CODE), CODE, NUMBER)
    assert lost(trial(CODE, NUMBER), CODE, NUMBER, OTHER)


@pytest.mark.parametrize(
    ("past", "again"),
    [
        ((NUMBER,), (NUMBER, CODE)),  # numbers may be combined
        ((CODE, NUMBER), (CODE,)),  # a part of what lost was never looked at by itself
        ((CODE, NUMBER), (CODE, OTHER)),
        ((CODE,), (NUMBER,)),
        ((CODE,), ((CODE[0], CODE[1].replace("2 *", "3 *")),)),
    ],
)
def test_what_was_not_looked_at_may_be_tried(past: Any, again: Any) -> None:
    assert not lost(trial(*past), *again)


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "keep", "gain": 0.02},
        {"gain": 0.004},  # a near miss
        {"gain": -0.004},  # within luck
        {"status": "unjudged", "gain": None, "gain_half": None},
        {"status": "abandoned", "gain": -0.02, "gain_half": 0.03},  # a forecast within luck
        {"hunks": ()},  # from before hunks were written down
    ],
)
def test_only_what_lost_beyond_luck_or_failed_counts(fields: dict[str, Any]) -> None:
    assert not lost(trial(CODE, **fields), CODE)


def test_what_failed_may_come_back_with_what_mends_it() -> None:
    assert not lost(trial(CODE, status="crashed", gain=None), CODE, OTHER)


def test_the_place_has_to_be_the_same_still() -> None:
    later = changed(("        return self.head(x)\n", "        return 2 * self.head(x)\n"))
    assert lost(trial(CODE), CODE, parent=later), "not a neighbour"
    before = "        x = self.embed(ids)\n\n        x = self.norm(x)\n"
    later = changed((before, before.replace("norm", "scale")))
    assert not lost(trial(CODE), CODE, parent=later)


def test_checks_point_to_the_trial() -> None:
    edit = Edit("architecture", "because", "because", (Block("a\n", "b\n"),))
    with pytest.raises(Rejected, match=r"already reverted: .*trial 3 .*an idea.*lost") as caught:
        check(edit, PARENT, changed(CODE, OTHER), max_seq_len=128, history=[trial(CODE)])
    assert "0.02" not in str(caught.value), "no finer gain is told than the history tells"
