"""Replays of trainings that gave no score: as far as they got, and no further."""

from __future__ import annotations

import json
from typing import Any

import pytest
from staged import measured, play

from agent import loop
from agent.steps import replay
from agent.steps.runtime import Runtime

CURVE = [(0.1, 0, 7.5), (0.9, 5, 6.25), (1.8, 11, 5.5)]
CRASHED = {"status": "crashed", "reason": "crash: ValueError: wide", "trace": "clock"}
ABANDONED = {
    "status": "abandoned", "reason": "hopeless after 25% of a heat", "trace": "clock",
    "losses": (*[9.0] * 5, *[None] * 15),
}  # fmt: skip
ENDED = {"status": "abandoned", "reason": "no candidate is left", "losses": (1.0,) * 20}
CLOCK_ENDS = {
    "status": "invalid",
    "reason": "contract: ContractError: replay: the recorded clock has 4 readings, train.py asked "
    "for one more",
}
AGAIN = {"curve": [(0.2, 0, 7.5), (1.1, 5, 6.25), (1.9, 12, 5.4)]}


def replayed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], now: dict[str, Any]
) -> dict[str, Any]:
    """The answer of ``replay`` for a first trial whose training ended like ``first``."""
    champion = ENDED if first["status"] == "abandoned" else 1.5
    play(monkeypatch, 1.5, (champion, {**first, "curve": CURVE}))
    loop.baseline(runtime)
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    monkeypatch.setattr(replay, "measure", lambda source, **options: measured(now, 2))
    found = replay.replay_commit(runtime.campaign.repo, trial.commit, 1, lambda event: None)
    answer = replay.replay_json(*found)
    assert json.loads(json.dumps(answer)) == answer
    assert "no score" in replay.replay_text(answer)
    return answer


@pytest.mark.parametrize(("first", "now"), [(CRASHED, CRASHED), (ABANDONED, CLOCK_ENDS)])
def test_the_same_end_with_the_same_losses_is_bit_exact(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], now: dict[str, Any]
) -> None:
    found = replayed(runtime, monkeypatch, first, {**now, **AGAIN})
    assert (found["verdict"], found["recorded_bpb"], found["replayed_bpb"]) == (
        "bit-exact", None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "now"),
    [
        (CRASHED, {**CRASHED, "curve": [(0.2, 5, 6.26)]}),
        (CRASHED, {**CRASHED, **AGAIN, "reason": "crash: ValueError: narrow"}),
        (ABANDONED, {**ABANDONED, **AGAIN}),
        (ABANDONED, {"val_bpb": 1.4, **AGAIN}),
    ],
)
def test_another_end_or_other_losses_have_failed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], now: dict[str, Any]
) -> None:
    assert replayed(runtime, monkeypatch, first, now)["verdict"] == "failed"
