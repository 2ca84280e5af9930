"""How much of a start-up is free; the rest comes off the budget, on both sides of a heat."""

import hashlib
import math
from typing import Any

import pytest

from trainer.measure import MACHINE, heat, measure
from trainer.training import parent
from trainer.training.startup import FACTOR, SLACK_SECONDS, StartUps

CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
CAP = 180.0
SLOW = """
import time

def train(session, honest=train):
    time.sleep(0.7)
    return honest(session)
"""


def free(seconds: float) -> float:
    return pytest.approx(FACTOR * seconds + SLACK_SECONDS)


@pytest.fixture
def start_ups(monkeypatch: pytest.MonkeyPatch) -> StartUps:
    """Those of the machine, none known yet."""
    fresh = StartUps()
    monkeypatch.setattr(MACHINE, "start_ups", fresh)
    return fresh


def test_what_compiles_is_compared_with_what_compiled() -> None:
    known = StartUps()
    known.note("champion", False, 60.0)
    known.note("champion", True, 8.0)
    assert known.free("champion", False, CAP) == free(60.0)
    assert known.free("champion", True, CAP) == free(8.0)
    assert known.free("champion", False, 30.0) == 30.0, "never more than the preset's cap"
    assert known.free(None, False, CAP) == known.free("another", False, CAP) == CAP


def test_a_champion_is_held_to_its_shortest() -> None:
    known = StartUps()
    for seconds in (10.0, 90.0):
        known.note("champion", False, seconds)
    assert known.free("champion", False, CAP) == free(10.0)


def test_a_chain_of_champions_gains_nothing() -> None:
    """Each takes what is just free: without inheritance the tenth would have had 50 times that."""
    known = StartUps()
    known.note("0", False, 10.0)
    for number in range(1, 10):
        champion, candidate = str(number - 1), str(number)
        known.note(candidate, False, known.free(champion, False, math.inf))
        known.inherit(candidate, champion)
    assert known.free("9", False, CAP) == free(10.0)


def test_a_quicker_candidate_keeps_its_own() -> None:
    known = StartUps()
    known.note("champion", False, 10.0)
    known.note("candidate", False, 4.0)
    known.inherit("candidate", "champion")
    assert known.free("candidate", False, CAP) == free(4.0)
    assert known.free("candidate", True, CAP) == CAP, "nothing is known of that"


def test_the_start_up_that_compiled_counts_whenever_it_is_lent() -> None:
    known = StartUps()
    known.note("champion", False, 60.0)
    known.note_compiled("champion", 60.0)
    known.note_compiled("candidate", 170.0)
    most = FACTOR * 60.0 + SLACK_SECONDS
    assert known.beyond("candidate", "champion", True, CAP) == pytest.approx(170.0 - most)
    assert known.beyond("candidate", "champion", False, CAP) == 0.0
    assert known.beyond("champion", "champion", True, CAP) == 0.0
    assert known.beyond("candidate", None, True, CAP) == 0.0
    assert known.beyond("candidate", None, True, 100.0) == 70.0


@pytest.mark.parametrize("how", [{}, {"peak_memory_mb": 1e9, "champion_first": False}])
def test_a_slow_start_costs_either_side_its_time(
    tiny_source: str, start_ups: StartUps, how: dict[str, Any]
) -> None:
    """Side by side and in turn, once it is known how quickly the champion starts up."""
    slow = tiny_source + SLOW
    start_ups.note(f"cpu {hashlib.sha256(tiny_source.encode()).hexdigest()}", False, 0.1)

    for champion, late in ((tiny_source, 1), (slow, 0)):
        candidate = slow if champion is tiny_source else tiny_source
        measured = heat([champion, candidate], budget="1s", **how, **CPU)
        assert [one.status for one in measured] == ["ok", "ok"]
        assert measured[late].startup_seconds > 0.7
        assert measured[late].train_seconds < 1 - 0.3
        assert measured[1 - late].train_seconds > 1 - 0.3


def test_under_a_token_budget_ready_has_to_come_soon_after_the_cap(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no time to take the rest off."""
    monkeypatch.setattr(
        parent, "UNCHARGED_SECONDS", -2.5
    )  # of the preset's 3 s, half a one is left
    measured = measure(tiny_source + SLOW, budget="40000tok", **CPU)
    assert measured.status == "overtime"
    assert measured.reason.startswith("overtime: no ready after 0.5 s")
