"""Null trials: drawn by lot, judged like any other, on no branch, without a lesson."""

from __future__ import annotations

import pytest
from staged import audits, play

from agent import loop
from agent.campaign.evidence import level_of
from agent.edits.constants import constants
from agent.steps.nulls import MILLIONTH, null_is_due
from agent.steps.runtime import Runtime

LEVEL, LUCKY = (1.5, 1.5), (1.5, 1.46)


def all_nulls(runtime: Runtime) -> None:
    runtime.settings = runtime.settings.model_copy(update={"nulls": 0.5})


def until_nulls(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Run trials until so many null trials are judged; real ones are worse and revert at once."""
    while len(runtime.campaign.state.nulls) < count:
        due = null_is_due(runtime)
        play(monkeypatch, *[LUCKY if due else (1.5, 1.8)] * 6)
        loop.one_trial(runtime)


def test_both_kinds_take_turns_and_change_nothing_else(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    all_nulls(runtime)
    loop.baseline(runtime)
    refs = runtime.campaign.repo.git("for-each-ref", "autoresearch").decode()
    tip = runtime.champion.commit
    until_nulls(runtime, monkeypatch, 2)
    first, second = runtime.campaign.state.nulls
    assert [trial.kind for trial in (first, second)] == ["structure", "numbers"]
    for null in (first, second):
        assert (null.verdict, null.category, null.commit, null.reward) == ("keep", "null", "", None)
        assert null.words.startswith("null trial, kept, falsely: ")
        assert null.audits == ()
    structural = {(heat.champion.seed, heat.candidate.seed) for heat in first.heats}
    assert all(a != b for a, b in structural)
    assert all(heat.champion.seed == heat.candidate.seed for heat in second.heats)
    state = runtime.campaign.state
    assert state.champion is not None and state.champion.commit == tip
    assert runtime.campaign.repo.resolve(runtime.campaign.repo.branch("t")) == tip
    assert refs == runtime.campaign.repo.git("for-each-ref", "autoresearch").decode()
    assert sum(state.counts.values()) == len(state.trials) - 1 - len(state.nulls)
    assert state.real == [trial for trial in state.trials if trial.category != "null"]


def test_the_numeric_kind_changes_one_constant_by_a_millionth(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    all_nulls(runtime)
    loop.baseline(runtime)
    until_nulls(runtime, monkeypatch, 1)
    while not null_is_due(runtime):
        play(monkeypatch, (1.5, 1.8))
        loop.one_trial(runtime)
    played = play(monkeypatch, *[LEVEL] * 6)
    loop.one_trial(runtime)
    null = runtime.campaign.state.nulls[1]
    before, after = ({c.name: c.value for c in constants(source)} for source in played.sources[0])
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [null.null_constant]
    assert after[changed[0]] == pytest.approx(before[changed[0]] * MILLIONTH, rel=1e-12)
    assert null.title == f"{changed[0]} times 1 + 1e-6"


def test_they_spend_nothing_and_teach_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    all_nulls(runtime)
    loop.baseline(runtime)
    while not null_is_due(runtime):
        play(monkeypatch, (1.5, 1.8))
        loop.one_trial(runtime)
    level, prior = level_of(runtime.campaign.state, "confirm"), runtime.prior.probabilities()
    until_nulls(runtime, monkeypatch, 1)
    assert level_of(runtime.campaign.state, "confirm") == level
    assert runtime.campaign.state.nulls[0].level == level, "judged as a real trial would be"
    assert runtime.prior.probabilities() == prior
    assert runtime.context(9).history == tuple(runtime.campaign.state.real)


def test_nulls_teach_the_noise(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1.5)
    all_nulls(runtime)
    loop.baseline(runtime)
    before = runtime.make_judge("structure").noise.scale
    until_nulls(runtime, monkeypatch, 1)
    assert runtime.make_judge("structure").noise.scale > 1.1 * before, "the mean is known to be 0"


def test_how_many_there_are_is_a_setting_and_the_first_is_never_one(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.8))
    loop.baseline(runtime)
    runtime.settings = runtime.settings.model_copy(update={"nulls": 1.0})
    assert not null_is_due(runtime)
    loop.one_trial(runtime)
    assert runtime.campaign.state.nulls == []
    assert null_is_due(runtime)
    runtime.settings = runtime.settings.model_copy(update={"nulls": 0.0})
    assert not null_is_due(runtime)


def test_one_trial_in_twenty_is_one(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for seed in range(50):
        runtime.settings = runtime.settings.model_copy(update={"seed": seed})
        for number in range(1, 101):
            monkeypatch.setattr(runtime.campaign.state, "trials", [None] * number)
            if null_is_due(runtime):
                drawn.append(number)
    assert 245 <= len(drawn) <= 250, "five a campaign, less a first trial now and then"
    assert 1 not in drawn
    assert len(set(drawn)) > 60, "nobody can tell which"


def test_a_null_trial_that_was_cut_off_goes_on(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    all_nulls(runtime)
    loop.baseline(runtime)
    while not null_is_due(runtime):
        play(monkeypatch, (1.5, 1.8))
        loop.one_trial(runtime)
    play(monkeypatch)
    with pytest.raises(IndexError):
        loop.one_trial(runtime)
    assert runtime.open_trial.is_null
    begun = runtime.open_trial.open_seeds
    audits(monkeypatch, bound=0.0)
    played = play(monkeypatch, *[(1.5, 1.6)] * 6)
    loop.one_trial(runtime)
    assert played.seeds[0] == list(begun)
    assert runtime.campaign.state.trials[-1].verdict == "revert"
