"""What lost is not tried again, and what was not looked at may be."""

from __future__ import annotations

from typing import Any

import pytest
from replies import BRANCH, LONGER, PARENT

from agent.campaign.records import Trial
from agent.campaign.repeats import Lost, lost_before, refuse_repeat
from agent.edits.changes import hunks
from agent.edits.checks import Rejected

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


def test_the_refusal_points_to_the_trial() -> None:
    with pytest.raises(Rejected, match=r"already reverted: .*trial 3 .*an idea.*lost") as caught:
        refuse_repeat(hunks(PARENT, changed(CODE, OTHER)), Lost([trial(CODE)]))
    assert "0.02" not in str(caught.value), "no finer gain is told than the history tells"
    refuse_repeat(hunks(PARENT, changed(OTHER)), Lost([trial(CODE)]))
