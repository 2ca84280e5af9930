"""What is about to be kept, or is too good to be true, is audited first; the bound is charged."""

from __future__ import annotations

import pytest
from project import trailers
from staged import audits, play

from agent import loop
from agent.steps import evaluate
from agent.steps.heat import run_heat
from agent.steps.runtime import Runtime

BETTER, LEVEL, FAR_BETTER = (1.5, 1.46), (1.5, 1.495), (1.5, 1.2)


def one_trial(runtime: Runtime) -> None:
    loop.baseline(runtime)
    loop.one_trial(runtime)


def test_a_keep_is_audited_first(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1.5, *[BETTER] * 6)
    claimed = audits(monkeypatch, bound=0.002)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert claimed == [1.46]
    assert trial.audits[-1].seconds == 0.125
    assert trial.val_bpb == pytest.approx(1.46)
    assert trial.differences == pytest.approx((0.038,) * len(trial.heats))
    assert 0.03 < trial.gain < 0.038  # type: ignore[operator]
    assert not list((runtime.campaign.folder / "trials" / "1").glob("*.safetensors*"))
    found = trailers(runtime.campaign.repo.commit_for(trial.commit).message)
    assert found["Audit"] == "prefixes alone, bound 0.002000"
    assert found["Differences"].split() == ["+0.038000"] * len(trial.heats)


def test_a_gain_that_a_leak_could_explain_is_reverted(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, *[BETTER] * 6)
    audits(monkeypatch, bound=0.09)
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"


@pytest.mark.parametrize("status", ["invalid", "oom"])
def test_a_refusal_reverts_by_name(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    play(monkeypatch, 1.5, *[BETTER] * 6)
    why = "causality: the prefix alone gives another loss"
    claimed = audits(monkeypatch, 0.0, reason=why, status=status)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, len(claimed)) == ("revert", status, 1)
    assert "causality: the prefix alone" in trial.words
    assert (trial.reward, trial.gain) == (-0.2, None)
    assert runtime.champion.trial == 0


def test_a_revert_is_not_audited(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1.5, (1.5, 1.7))
    claimed = audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    assert claimed == []
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_too_good_to_be_true_is_quarantined_and_measured_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, FAR_BETTER, *[(1.5, 1.52)] * 6)
    claimed = audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert claimed == [1.2]
    assert trial.heats[0].candidate.quarantined
    assert trial.scores == (1.52,)
    assert trial.differences == pytest.approx((-0.02,))
    assert trial.verdict == "revert"


def test_a_champion_that_diverged_makes_no_keep(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (3.5, 1.5), *[(1.5, 1.501), (1.5, 1.499)] * 3)
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_the_second_time_it_is_believed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1.5, *[FAR_BETTER] * 6)
    claimed = audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert [t.quarantined for t in trial.of("candidate")].count(True) == 1
    assert claimed == [1.2, 1.2]


def test_weights_of_another_training_are_not_audited(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the copy of the weights and the journal leaves such."""
    play(monkeypatch, 1.5, *[FAR_BETTER] * 6)
    claimed = audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    loop.draw(runtime)
    loop.propose_edit(runtime)
    run_heat(runtime)
    assert runtime.open_trial.of("candidate")[0].quarantined
    seed = runtime.open_trial.of("candidate")[0].seed
    runtime.campaign.weights(1, seed).write_bytes(b"other")
    evaluate.evaluate_candidate(runtime)
    trial = runtime.campaign.state.trials[1]
    assert set(claimed) == {1.2}
    assert len(trial.scores) >= 2
    assert trial.verdict == "keep"


def test_an_audit_that_the_harness_fails_is_no_verdict(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, *[BETTER] * 6)
    claimed = audits(monkeypatch, 0.0, reason="scorer: it ended", status="crashed")
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert len(claimed) == 2
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "unjudged", None)
    assert trial.tried == ()


def test_another_training_needs_another_audit(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quarantined one's does not stand for those that are judged."""
    play(monkeypatch, 1.5, *[FAR_BETTER] * 6)
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert trial.audit is not None and trial.audit.trainings == len(trial.of("candidate"))
    assert len(trial.audits) == 2
