"""A shorter program with the same numbers is kept; one with other numbers is judged by heats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import clone
from staged import audits, digest, play

from agent import loop
from agent.campaign.evidence import level_of
from agent.proposers.base import Context, Proposal
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import CheckResult

pytestmark = pytest.mark.process  # each trial parses the whole of train.py

REPLY = """title: forget what is logged
category: {category}
hypothesis: It costs nothing.
<<<<<<< SEARCH
        session.log(number - 1, loss=mean_loss, lr_scale=scale)
=======
>>>>>>> REPLACE
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With the functions of train.py, which are edited here."""
    return clone(tmp_path)


class Deleter:
    """Proposes to delete one statement."""

    name, attempts = "deck", 1

    def choices(self, context: Context) -> int:
        return 1

    def covers(self, context: Context) -> bool:
        return True

    def propose(self, context: Context) -> Proposal:
        return Proposal("deck", REPLY.format(category=context.category))


@pytest.fixture
def deleting(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign whose first trial makes the program shorter."""
    play(monkeypatch, {"val_bpb": 1.5, "trace": "recorded"})
    loop.baseline(runtime)
    runtime.proposer = Deleter()  # type: ignore[assignment]
    same_steps(monkeypatch, "w", "w")
    return runtime


def same_steps(monkeypatch: pytest.MonkeyPatch, *weights: str) -> None:
    """Two steps leave these weights: of the candidate's check, then champion's, candidate's."""
    left = ["", *weights]

    def check(source: str, **options: Any) -> CheckResult:
        return CheckResult("ok", params=1000, weights_sha256=left.pop(0))

    monkeypatch.setattr(measure, "check", check)


def timed(seconds: float, **changes: Any) -> dict[str, Any]:
    return {"val_bpb": 1.5, "train_seconds": seconds, "budget": "20s", **changes}


def test_the_same_numbers_in_the_same_time_are_kept(
    deleting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(monkeypatch, (timed(20.0), timed(20.2)))
    audits(monkeypatch, bound=0.0)
    level = level_of(deleting.campaign.state, "confirm")
    loop.one_trial(deleting)
    trial = deleting.campaign.state.trials[1]
    assert (trial.verdict, trial.gain, trial.tie, trial.tie_cost) == ("keep", 0.0, True, 0.0)
    assert trial.words == "kept: shorter, and the same numbers to the last bit"
    assert trial.size_delta == -1 and trial.reward == 0.0
    seed = deleting.campaign.state.trials[0].trainings[0].seed
    assert played.seeds == [[seed, seed]]
    assert played.options[0]["trace"] == ["recorded", "recorded"]
    assert level_of(deleting.campaign.state, "confirm") == level, "nothing was tested"


@pytest.mark.parametrize(
    ("champion", "candidate", "proof"),
    [
        (timed(20.0), timed(21.0), "slower"),
        (timed(20.0), timed(19.0), "faster"),
        (timed(20.0), timed(20.0, how="in turn"), "untimed"),
        (timed(20.0), timed(20.0, weights_sha256=digest(99)), "other"),
        (timed(20.0), timed(20.0, val_bpb=1.4999), "other"),
        (timed(20.0), {"status": "invalid", "reason": "contract: replay"}, "other"),
    ],
)
def test_otherwise_heats_decide(
    deleting: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    champion: dict[str, Any],
    candidate: dict[str, Any],
    proof: str,
) -> None:
    play(monkeypatch, (champion, candidate), (1.5, 1.9))
    loop.one_trial(deleting)
    trial = deleting.campaign.state.trials[1]
    assert trial.proof == proof
    assert trial.verdict == "revert"
    assert trial.differences == pytest.approx((-0.4,)), "the proof is no heat of the judge's"


def test_what_differs_after_two_steps_is_not_trained_for_it(
    deleting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_steps(monkeypatch, "w", "other")
    played = play(monkeypatch, (1.5, 1.9))
    loop.one_trial(deleting)
    assert deleting.campaign.state.trials[1].proof == "other"
    assert played.options[0]["trace"] is None


def test_a_proof_that_was_cut_off_is_tried_again(
    deleting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch)
    with pytest.raises(IndexError):
        loop.one_trial(deleting)
    same_steps(monkeypatch)
    monkeypatch.setattr(
        measure, "check", lambda *a, **o: CheckResult("ok", params=1000, weights_sha256="w")
    )
    play(monkeypatch, (timed(20.0), timed(20.0)))
    audits(monkeypatch, bound=0.0)
    loop.one_trial(deleting)
    assert deleting.campaign.state.trials[1].verdict == "keep"


def test_an_audit_can_still_refuse_it(deleting: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, (timed(20.0), timed(20.0)))
    audits(monkeypatch, bound=0.0, reason="causality: it peeks")
    loop.one_trial(deleting)
    assert deleting.campaign.state.trials[1].status == "invalid"
