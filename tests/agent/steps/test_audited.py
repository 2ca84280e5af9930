"""What is about to be kept, or is too good to be true, is audited first; the bound is charged."""

from __future__ import annotations

import pytest
from staged import QUIET, audits, play

from agent import loop
from agent.steps import evaluate
from agent.steps.runtime import Runtime

CHAMPION, BETTER, FAR_BETTER = (1.5, QUIET), (1.46, QUIET), (1.2, QUIET)


def one_trial(runtime: Runtime) -> None:
    loop.baseline(runtime)
    loop.one_trial(runtime)


def test_a_keep_is_audited_first(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, CHAMPION, *[BETTER, CHAMPION] * 6)
    claimed = audits(monkeypatch, bound=0.002)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert claimed == [1.46]
    assert trial.val_bpb == pytest.approx(1.46)
    assert trial.gain == pytest.approx(0.038)
    assert not list((runtime.campaign.folder / "trials" / "1").glob("*.safetensors*"))
    trailers = runtime.campaign.repo.trailers(trial.commit)
    assert trailers["Audit"] == "prefixes alone, bound 0.002000"


def test_a_gain_that_a_leak_could_explain_is_reverted(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, CHAMPION, *[BETTER, CHAMPION] * 6)
    audits(monkeypatch, bound=0.09)
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_a_refusal_reverts_by_name(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, CHAMPION, *[BETTER, CHAMPION] * 6)
    audits(monkeypatch, 0.0, reason="causality: the prefix alone gives another loss")
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status) == ("revert", "invalid")
    assert "causality: the prefix alone" in trial.words
    assert trial.reward == -0.2
    assert runtime.champion.trial == 0


def test_a_revert_is_not_audited(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, CHAMPION, (1.7, QUIET), CHAMPION)
    claimed = audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    assert claimed == []
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_too_good_to_be_true_is_quarantined_and_measured_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, CHAMPION, FAR_BETTER, *[(1.49, QUIET), CHAMPION] * 6)
    claimed = audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert claimed == [1.2]
    assert trial.trainings[0].quarantined
    assert 1.2 not in trial.scores
    assert trial.scores[0] == 1.49
    assert trial.verdict == "revert"


def test_the_second_time_it_is_believed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, CHAMPION, *[FAR_BETTER, FAR_BETTER, CHAMPION] * 3)
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
    play(monkeypatch, CHAMPION, FAR_BETTER, FAR_BETTER, CHAMPION, FAR_BETTER, CHAMPION, FAR_BETTER)
    claimed = audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    loop.draw(runtime)
    loop.propose_edit(runtime)
    evaluate.train_once(runtime, "candidate", runtime.open_trial.candidate)
    assert runtime.open_trial.trainings[0].quarantined
    seed = runtime.open_trial.trainings[0].seed
    runtime.campaign.weights(1, seed).write_bytes(b"other")
    evaluate.evaluate_candidate(runtime)
    trial = runtime.campaign.state.trials[1]
    assert set(claimed) == {1.2}
    assert len(trial.scores) >= 2
    assert trial.verdict == "keep"


def test_an_audit_that_the_harness_fails_is_no_verdict(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, CHAMPION, *[BETTER, CHAMPION] * 6)
    claimed = audits(monkeypatch, 0.0, reason="scorer: it ended", status="crashed")
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert len(claimed) == 2
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "abandoned", None)


def test_another_training_needs_another_audit(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quarantined one's does not stand for those that are judged."""
    play(monkeypatch, CHAMPION, *[FAR_BETTER, FAR_BETTER, CHAMPION] * 3)
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert trial.audit is not None and trial.audit.trainings == len(trial.of("candidate"))
    assert len(trial.audits) == 2
