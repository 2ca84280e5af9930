"""A heat is watched while it trains: who is shown, when, and what comes of an answer."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from trainer.measure import MACHINE, Measurement, heat
from trainer.measure import measure as measure_one
from trainer.sandbox import tree
from trainer.training.curve import TWENTIETHS
from trainer.training.job import Trained
from trainer.training.watch import NO_CANDIDATE, Watcher

CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
SLOW_TOKENS = """
import time

def train(session, honest=train):
    counted = session.consumed
    session.consumed = lambda n: (time.sleep(0.11), counted(n))
    return honest(session)
"""
"""Long enough for one report a step, of which there are 20."""

Call = tuple[int, int, int]
"""Index of a training, number of its losses, number of the champion's."""


class Recorder:
    """A watch that writes down what it is shown, and answers when it is told to."""

    def __init__(self, end: dict[int, int] | None = None) -> None:
        """``end``: after how many twentieths which training is to end."""
        self.calls: list[Call] = []
        self._end = end or {}

    def __call__(
        self, number: int, own: Sequence[float | None], champion: Sequence[float | None]
    ) -> str | None:
        self.calls.append((number, len(own), len(champion)))
        return "enough" if len(own) >= self._end.get(number, 99) else None


def nothing_is_left() -> bool:
    return not any(tree.usage(server.pid).processes for server in MACHINE.servers(2))


def open_files() -> list[str]:
    """What each descriptor of this process is, the one that reads them here included."""
    found = Path("/proc/self/fd").iterdir() if sys.platform == "linux" else []
    return sorted(str(path.readlink()) for path in found if path.is_symlink())


def is_kept(measured: Measurement) -> bool:
    return bool(
        measured.curve
        and measured.trace
        and any(loss is not None for loss in measured.losses)
        and measured.val_bpb is None
    )


class TestWatcher:
    def test_both_have_come_as_far(self) -> None:
        record = Recorder()
        watcher = Watcher(record, 2, waits=True)
        losses = (1.0,) * TWENTIETHS
        for own, champion in [(1, 1), (2, 1), (2, 2), (2, 3), (4, 3), (4, 3), (4, 9), (9, 8)]:
            watcher.look(0, losses[:champion])
            watcher.look(1, losses[:own])
        assert record.calls == [(1, 2, 2), (1, 3, 3), (1, 4, 9), (1, 8, 8)]

    def test_alone_or_before_the_champion_there_is_nothing_to_wait_for(self) -> None:
        for count, number in [(1, 0), (2, 1)]:
            record = Recorder()
            watcher = Watcher(record, count, waits=False)
            for own in (0, 1, 2, 2, 3):
                watcher.look(number, (1.0,) * own)
            assert record.calls == [(number, 2, 0), (number, 3, 0)]

    def test_the_champion_ends_with_the_last_candidate(self) -> None:
        watcher = Watcher(Recorder(), 3, waits=True)
        watcher.ended(1, Trained("abandoned"))
        assert watcher.look(0, ()) is None
        watcher.ended(2, Trained("crashed"))
        assert watcher.look(0, ()) == NO_CANDIDATE

    def test_not_if_a_candidate_has_weights_or_nobody_watches(self) -> None:
        for watch, status in [(Recorder(), "ok"), (None, "crashed")]:
            watcher = Watcher(watch, 2, waits=True)
            watcher.ended(1, Trained(status))
            assert watcher.look(0, ()) is None


@pytest.mark.alone
def test_side_by_side_all_see_the_end(tiny_source: str) -> None:
    record = Recorder()
    measured = heat([tiny_source] * 3, budget="2s", watch=record, **CPU)
    assert [(one.status, one.how) for one in measured] == [("ok", "side by side")] * 3
    assert {number for number, *_ in record.calls} == {1, 2}
    for number in (1, 2):
        seen = [min(own, champion) for n, own, champion in record.calls if n == number]
        assert 2 <= seen[0] <= 5 and seen[-1] >= 14
        assert all(a < b for a, b in pairwise(seen))
        assert max(b - a for a, b in pairwise(seen)) <= 4  # a turn is a hundredth, or 0.05 s


@pytest.mark.alone
def test_side_by_side_one_is_abandoned_and_the_others_go_on(tiny_source: str) -> None:
    record = Recorder({2: 5})
    first, second, third = heat([tiny_source] * 3, budget="2s", watch=record, **CPU)
    assert (first.status, second.status) == ("ok", "ok")
    assert (third.status, third.reason) == ("abandoned", "enough")
    assert is_kept(third) and 0.4 < third.train_seconds < 1.2
    assert [loss is None for loss in third.losses[-8:]] == [True] * 8
    assert len([call for call in record.calls if call[0] == 2 and call[1] >= 5]) == 1


@pytest.mark.alone
def test_side_by_side_the_champion_ends_with_the_last_candidate(tiny_source: str) -> None:
    champion, candidate = heat([tiny_source] * 2, budget="30s", watch=Recorder({1: 2}), **CPU)
    assert (candidate.status, candidate.reason) == ("abandoned", "enough")
    assert (champion.status, champion.reason) == ("abandoned", NO_CANDIDATE)
    assert is_kept(champion) and is_kept(candidate)
    assert champion.train_seconds < 15 and candidate.train_seconds < 15
    assert nothing_is_left()


@pytest.mark.alone
def test_in_turn_after_the_champion(tiny_source: str) -> None:
    record = Recorder({1: 4})
    source = tiny_source + SLOW_TOKENS
    champion, candidate = heat([source] * 2, budget="40000tok", watch=record, **CPU)
    assert (champion.status, champion.how) == ("ok", "in turn")
    assert (candidate.status, candidate.reason) == ("abandoned", "enough")
    assert is_kept(candidate)
    # 2,048 of 40,000 tokens a step are a little more than a twentieth.
    assert record.calls == [(1, 2, TWENTIETHS), (1, 3, TWENTIETHS), (1, 4, TWENTIETHS)]


@pytest.mark.alone
def test_alone(tiny_source: str) -> None:
    record = Recorder({0: 3})
    measured = measure_one(tiny_source, budget="4s", watch=record, **CPU)
    assert (measured.status, measured.reason) == ("abandoned", "enough")
    assert record.calls == [(0, 2, 0), (0, 3, 0)] and is_kept(measured)
    again = measure_one(tiny_source, budget="4s", trace=measured.trace, **CPU)
    assert again.trace == measured.trace and again.status == "invalid"
    assert "replay: the recorded clock has" in again.reason


@pytest.mark.alone
def test_alone_it_is_watched_even_if_it_reports_nothing(tiny_source: str) -> None:
    silent = "\n\ndef train(session):\n    session.ready()\n    while True:\n        pass\n"
    measured = measure_one(tiny_source + silent, budget="9s", watch=Recorder({0: 2}), **CPU)
    assert (measured.status, measured.curve) == ("abandoned", ())


@pytest.mark.parametrize("budget", ["20s", "40000tok"])
def test_a_watch_that_raises_ends_the_heat(tiny_source: str, budget: str) -> None:
    def watch(*_: Any) -> None:
        raise KeyError("on purpose")

    source = tiny_source + SLOW_TOKENS
    heat([source] * 2, budget="2000tok", **CPU)
    assert nothing_is_left()  # both servers are up
    before = open_files()
    with pytest.raises(KeyError, match="on purpose"):
        heat([source] * 2, budget=budget, watch=watch, **CPU)
    assert nothing_is_left()
    assert open_files() == before
    assert measure_one(tiny_source, budget="2000tok", **CPU).status == "ok"
