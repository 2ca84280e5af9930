"""What a run does at this moment, as it says it to who looks on from elsewhere."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from events import campaign

from agent.campaign import live
from agent.campaign.files import JOURNAL
from agent.campaign.journal import Journal
from agent.campaign.live import BINS, LIVE, Live, LiveFile, course, read_live
from agent.campaign.records import Trial
from trainer.sandbox import owner

HEAT = Live(trial=14, heat=1, category="schedule")


def log(side: int | None, share: float | None, bpb: float, step: int = 0) -> dict[str, Any]:
    who = {} if side is None else {"training": side}
    return {"event": "log", "step": step, "loss": 3.0, "bpb": bpb, "spent": share, **who}


def half_a_heat(ahead: float) -> Live:
    now = HEAT
    for part in range(31):
        for side in (0, 1):
            now = now.after(log(side, part / 50, 2.0 - part / 50 - ahead * side, part))
    return now


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "heat 2 of trial 14: starting"),
        ([{"event": "preparing", "stage": "a\x1b[31m\nb", "fraction": 0.4}],
         "heat 2 of trial 14: preparing: a\ufffd[31m b"),
        ([{"event": "ready", "training": 1}], "heat 2 of trial 14: training candidate at 0 %"),
        ([log(0, 0.07, 2.0)], "heat 2 of trial 14: training champion at 7 %"),
        ([log(0, None, 2.0)], "heat 2 of trial 14: training champion"),
        ([log(5, 0.5, 2.0)], "heat 2 of trial 14: training at 50 %"),
        ([{"event": "scoring", "fraction": 0.25, "training": 1}],
         "heat 2 of trial 14: scoring candidate at 25 %"),
        ([{"event": "waiting", "seconds": 7}], "heat 2 of trial 14: waiting, 7 s left"),
        ([{"event": "waiting", "seconds": n} for n in (1, 0)],
         "heat 2 of trial 14: drafting an edit in schedule"),
        ([{"event": "note", "text": "x"}], "heat 2 of trial 14: starting"),
    ],
)  # fmt: skip
def test_words_say_what_is_done(events: list[dict[str, Any]], words: str) -> None:
    now = HEAT
    for event in events:
        now = now.after(event)
    assert now.words == words


def test_the_candidate_is_ahead_or_behind_by_what_both_have_come_through() -> None:
    assert half_a_heat(0.004).words == "heat 2 of trial 14: candidate ahead by 0.0040 at 60 %"
    assert half_a_heat(-0.004).words == "heat 2 of trial 14: candidate behind by 0.0040 at 60 %"
    # What only one of them has reached counts for nothing.
    assert half_a_heat(0.004).after(log(0, 0.9, 0.1)).ahead == pytest.approx(0.004)


def test_a_champion_that_is_not_trained_again_is_compared_too() -> None:
    known = [2.0 - k / 40 for k in range(20)]
    now = HEAT.model_copy(update={"champion": course(known)})
    for k in range(20):
        now = now.after(log(None, (k + 0.5) / 20, known[k] - 0.01))
    assert now.ahead == pytest.approx(0.01)


def test_curves_are_bounded_and_begin_anew_with_a_heat_that_is_done_again() -> None:
    now = HEAT
    for step in range(1000):
        now = now.after(log(1, step / 999, 2.0, step))
    assert len(now.candidate) == BINS
    assert now.candidate[-1][0] == 1.0
    assert now.after(log(1, 0.1, 1.5)).candidate[-1][0] < 0.15
    assert now.after({"event": "ready", "training": 1}).candidate == ()
    for bad in (float("nan"), float("inf")):
        assert HEAT.after(log(1, 0.5, bad)).candidate == ()


def test_it_is_read_while_its_writer_has_the_lock(tmp_path: Path) -> None:
    assert read_live(tmp_path) is None
    with Journal(tmp_path / JOURNAL):
        file = LiveFile(tmp_path)
        now = half_a_heat(0.004)
        file.write(now)
        found = read_live(tmp_path)
        assert found is not None
        assert found.words == now.words
        assert found.candidate == now.candidate
        assert found.pid == os.getpid()
        text = (tmp_path / LIVE).read_bytes()
    assert read_live(tmp_path) is None, "a killed run leaves it, and it says nothing"
    with Journal(tmp_path / JOURNAL):
        (tmp_path / LIVE).write_bytes(text.replace(b'"schedule"', b'"\\u001b[2J\\u202e"'))
        found = read_live(tmp_path)
        assert found is not None
        assert found.category.isprintable(), "anybody may have written it"
        mine = str(owner.this_process()).encode()
        (tmp_path / LIVE).write_bytes(text.replace(mine, mine + b"1"))
        assert read_live(tmp_path) is None, "another process with the same id wrote it"
        for damaged in (b"", b"{", text[:50], text.replace(b'"trial":14', b'"trial":"x"')):
            (tmp_path / LIVE).write_bytes(damaged)
            assert read_live(tmp_path) is None
        file.close()
        file.close()
        assert not (tmp_path / LIVE).exists()


def test_it_is_written_twice_a_second_and_at_each_new_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    now = iter(range(10_000))
    monkeypatch.setattr(live.time, "monotonic", lambda: next(now) / 20)
    monkeypatch.setattr(live, "write_atomically", lambda path, text, sync: written.append(path))
    file, shown = LiveFile(tmp_path), HEAT
    for step in range(100):  # 5 s
        shown = shown.after(log(step % 2, step / 100, 2.0, step))
        file.write(shown)
    assert len(written) == 10
    file.write(shown.after({"event": "scoring", "fraction": 0.0}))
    assert len(written) == 11


def test_a_file_that_cannot_be_written_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = LiveFile(tmp_path / "gone")
    with caplog.at_level(logging.WARNING):
        file.write(HEAT)
        file.write(HEAT.after({"event": "scoring", "fraction": 0.0}))
    file.close()
    assert len(caplog.records) == 1


def test_an_activity_begins_with_its_trial() -> None:
    trial = campaign().state.trials[1]
    now = Live.of(trial, heat=3, budget="20s")
    assert (now.trial, now.category, now.who) == (1, "schedule", "heat 4")
    assert len(now.differences) == 3
    assert Live.of(Trial(0), stage="training").words == "baseline of trial 0: training"
    drafting = Live.of(Trial(7, category="[red]x"), stage="drafting")
    assert drafting.words == "trial 7: drafting an edit in [red]x"
    assert Live.of().words == "starting"
