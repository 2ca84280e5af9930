"""How a trial is judged when the machine is busy; measurements are stood in for, git is real."""

from __future__ import annotations

import dataclasses

import pytest
from staged import BUSY, QUIET, audits, play

from agent import loop
from agent.campaign.journal import read_events
from agent.campaign.store import Campaign, CampaignError
from agent.steps import evaluate, start
from agent.steps.runtime import Runtime, Stopped


def test_a_disturbed_training_is_done_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, (1.9, BUSY), (1.5, QUIET), (1.9, BUSY), (1.7, QUIET), (1.51, QUIET))
    loop.baseline(runtime)
    assert runtime.champion_scores() == [1.5]
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.scores, trial.champion_scores) == ("revert", (1.7,), (1.51,))


def test_on_a_busy_machine_nothing_is_judged_and_nothing_learnt(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, *[(1.9, BUSY)] * 3, *[(1.0, BUSY)] * 4)
    monkeypatch.setattr(evaluate, "UNJUDGED_TRIALS", 1)
    monkeypatch.setattr(evaluate, "BUSY_SECONDS", 0.0)
    loop.baseline(runtime)
    assert runtime.champion.val_bpb == 1.9
    assert runtime.champion_scores() == []
    before = runtime.prior.probabilities()
    with pytest.raises(IndexError):  # the champion is due first: three more, and no fourth
        loop.one_trial(runtime)
        loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "abandoned", None)
    assert "not judged" in trial.words
    assert runtime.prior.probabilities() == before
    assert runtime.campaign.state.outages == 0
    assert "busy" in [event["event"] for event in read_events(runtime.campaign.journal.path)]


def test_greedy_keeps_one_lucky_score(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.settings = dataclasses.replace(runtime.settings, keep="greedy")
    play(monkeypatch, (1.5, QUIET), (1.49, QUIET), (1.48, QUIET))
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    loop.one_trial(runtime)
    assert [trial.verdict for trial in runtime.campaign.state.trials] == ["keep"] * 3
    assert runtime.champion.val_bpb == 1.48


def test_new_tags_are_free_ones(runtime: Runtime) -> None:
    first = start.new_tag(runtime.campaign.repo)
    Campaign(runtime.campaign.repo, first).close()
    assert start.new_tag(runtime.campaign.repo) == f"{first}-2"


def test_limits_written_into_program_md_hold_before_the_next_trial(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, (1.5, QUIET), (1.9, QUIET), (1.5, QUIET), (1.9, QUIET), (1.5, QUIET))
    loop.baseline(runtime)
    loop.one_trial(runtime)
    path = runtime.program.path
    path.write_text(path.read_text().replace("---\n", "---\ntrials: 1\n", 1))
    with pytest.raises(Stopped):
        loop.one_trial(runtime)
    runtime.settings = dataclasses.replace(runtime.settings, trials=9, hours=0.0)
    with pytest.raises(Stopped, match="time is up"):
        loop.one_trial(runtime)


def test_a_score_on_other_text_is_not_recorded(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, (1.5, QUIET), (1.4, QUIET), text="files:a 1")
    loop.baseline(runtime)
    play(monkeypatch, (1.4, QUIET), text="files:a 2")
    with pytest.raises(CampaignError, match="text was files:a 1 and is files:a 2 now"):
        loop.one_trial(runtime)
    assert runtime.open_trial.trainings == ()
    play(monkeypatch, *[(1.6, QUIET)] * 4, text="files:a 1")
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"
