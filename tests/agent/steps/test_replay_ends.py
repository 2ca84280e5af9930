"""Verdicts of replays, by what was recorded and what came of it; no training is done."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from staged import TwoDevices, measured, play

from agent import loop
from agent.campaign.events import TrialBegun
from agent.campaign.reading import CampaignError
from agent.campaign.records import Training
from agent.executors.local import Local
from agent.steps import replay
from agent.steps.runtime import Runtime
from trainer import measure

CURVE = [(0.1, 0, 7.5), (0.9, 5, 6.25), (1.8, 11, 5.5)]
UNWEIGHED = {"trace": "clock", "weights_sha256": ""}
CRASHED = {"status": "crashed", "reason": "crash: ValueError: wide", **UNWEIGHED}
ABANDONED = {
    "status": "abandoned", "reason": "hopeless after 25% of a heat", **UNWEIGHED,
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
    monkeypatch.setattr(measure, "heat", lambda sources, **options: [measured(now, 2)])
    repo = runtime.campaign.repo
    answer = replay.replay_commit(repo, trial.commit, None, lambda event: None, lambda of: Local())
    assert json.loads(json.dumps(answer)) == answer
    assert f"recorded {answer['recorded_end']}, " in replay.replay_text(answer)
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
        (CRASHED, {**CRASHED, **AGAIN, "trace": "another clock"}),
        (CRASHED, {**CLOCK_ENDS, **AGAIN, "trace": "clock"}),
        (ABANDONED, {"val_bpb": 1.4, **AGAIN}),
    ],
)
def test_another_end_or_other_losses_have_failed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], now: dict[str, Any]
) -> None:
    assert replayed(runtime, monkeypatch, first, now)["verdict"] == "failed"


def clock(steps: int) -> str:
    """The trace of a training that asked so often whether it is done."""
    return base64.b64encode(struct.pack(f"<{steps}d", *[-1.0] * steps)).decode()


HERE = {"threads": 2, "processor": "Some CPU", "torch": "2.13.0", "text": "apidocs 1"}
SCORED = {"val_bpb": 1.5, "weights_sha256": "a" * 64, "trace": clock(9), "fingerprint": HERE}
FAILED = {**CRASHED, "trace": clock(9), "fingerprint": HERE, "curve": CURVE}
ELSEWHERE = {"fingerprint": {**HERE, "threads": 4}}
THREADS = "threads: 2 then, 4 now"
OTHER_BITS = "weights: not the same bits"
OTHER_SCORE = "score: another number for the same weights"
UNLIKE = {"curve": [(0.1, 0, 7.5), (0.9, 5, 6.26), (1.8, 11, 5.5)]}
CUT = {"status": "oom", "reason": "memory: 2101 MB, at most 2000", **UNWEIGHED}
PEEKED = {"status": "invalid", "reason": "causality: 0.31 nat over 96", "val_bpb": None}
READS = "train.py reads time.time (line 3): no replay can repeat that"
HEAT = {"how": "side by side"}


@pytest.mark.parametrize(
    ("then", "now", "verdict", "differences"),
    [
        (SCORED, {}, "bit-exact", []),
        (SCORED, {"how": "alone"}, "bit-exact", []),
        (SCORED, ELSEWHERE, "bit-exact", [THREADS]),
        (SCORED, {"isolation": "off"}, "bit-exact", ["isolation: os then, off now"]),
        (SCORED, {**ELSEWHERE, "weights_sha256": "b"}, "within-noise", [THREADS, OTHER_BITS]),
        (
            SCORED, {**ELSEWHERE, "how": "alone", "weights_sha256": "b", "val_bpb": 1.9}, "failed",
            [THREADS, "how: side by side then, alone now", OTHER_BITS],
        ),
        (SCORED, {"val_bpb": 1.5001}, "within-noise", [OTHER_SCORE]),
        (SCORED, {"val_bpb": 1.9}, "failed", [OTHER_SCORE]),
        ({**SCORED, "weights_sha256": ""}, {"weights_sha256": "b"}, "bit-exact", []),
        (FAILED, {}, "bit-exact", []),
        (FAILED, ELSEWHERE, "bit-exact", [THREADS]),
        (
            FAILED, {**ELSEWHERE, "curve": CURVE[:2]}, "within-noise",
            [THREADS, "losses: only 2 of 3, without the last, were logged then and now; they are "
             "equal"],
        ),
        (FAILED, {"curve": CURVE[:2]}, "bit-exact", []),
        (FAILED, {**ELSEWHERE, **UNLIKE}, "within-noise", [THREADS, "losses: other numbers"]),
        (FAILED, UNLIKE, "failed", ["losses: other numbers"]),
        ({**FAILED, "curve": []}, {}, "bit-exact", []),
        ({**FAILED, "curve": [], "losses": (7.5, None)}, {}, "within-noise",
         ["losses: not recorded here"]),
        ({**FAILED, "curve": [], "trace": ""}, ELSEWHERE, "bit-exact", [THREADS]),
        (
            FAILED, {"trace": clock(8)}, "failed",
            ["end: crashed at step 9 (crash: ValueError: wide) then, crashed at step 8 (crash: "
             "ValueError: wide) now"],
        ),
        (
            FAILED, {**CLOCK_ENDS, "trace": clock(9)}, "failed",
            ["end: crashed at step 9 (crash: ValueError: wide) then, still training after step 9, "
             "where its recorded clock ends now"],
        ),
        (CUT, {**CLOCK_ENDS, "trace": "clock"}, "bit-exact", []),
        (CUT, {"reason": "memory: 2107 MB, at most 2000"}, "bit-exact", []),
        ({**SCORED, **PEEKED}, {"reason": "causality: 0.29 nat over 95"}, "bit-exact", []),
        ({**SCORED, **PEEKED}, {"reason": "order: other numbers"}, "failed",
         ["end: invalid at step 9 (causality: 0.31 nat over 96) then, invalid at step 9 (order: "
          "other numbers) now"]),
        ({**SCORED, "isolation": "", "how": ""}, {}, "bit-exact", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("clocks", ["", "time.time (line 3)"])
def test_a_replay_is_bit_exact_only_where_bits_are_equal(
    then: dict[str, Any], now: dict[str, Any], verdict: str, differences: list[str], clocks: str
) -> None:
    first, again = measured({**HEAT, **then}, 2), measured({**HEAT, **then, **now}, 2)
    training = Training(1, "candidate", "c", 2, "killed").with_result(first)
    record = replay.Record(training, first.trace, first.curve, 0.01, clocks)
    found, said = replay.compare(record, again)
    if clocks and not first.weights_sha256 and found == "within-noise":
        assert said[-1] == READS  # a few losses say little of such a file
        return
    named = [READS] if clocks and verdict != "bit-exact" else []
    assert (found, said) == (verdict, differences + named)


def test_a_null_trial_says_that_it_has_no_commit(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    champion = runtime.campaign.state.trials[0].commit
    campaign = runtime.campaign
    campaign.record(TrialBegun(trial=1, category="null", parent=champion))
    with pytest.raises(CampaignError, match=f"1 has no commit.* null .*{champion[:12]}"):
        replay.find_trial(campaign.repo, f"refs/autoresearch/{campaign.tag}/trials/1")


def test_a_failure_of_a_fresh_seed_leaves_the_replay_and_another_campaign_does_not_matter(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    repo, commit = runtime.campaign.repo, runtime.champion.commit
    other = runtime.campaign.folder.parent / "other/journal.jsonl"
    other.parent.mkdir()
    other.write_text('{"n": 0}\n' * 3)
    again = measured(SCORED, 2)
    crashed = measured(CRASHED, 3)
    monkeypatch.setattr(measure, "heat", lambda _, **how: [again if "trace" in how else crashed])
    devices = TwoDevices()
    found = replay.replay_commit(repo, commit, 2, lambda event: None, lambda of: devices)
    assert found["verdict"] != "not trained" and found["replayed_bpb"] == 1.5
    assert len(devices.works) == 3 and devices.closed == 1
    assert "ValueError: wide" in found["fresh"]["failed"]
    assert f"no fresh estimate: commit {commit[:12]}: crashed" in replay.replay_text(found)
    with pytest.raises(CampaignError, match=r"no trial of a campaign.*; campaign other was left"):
        replay.find_trial(repo, runtime.campaign.state.settings["base"])
