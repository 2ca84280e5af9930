"""Notes that are put off where verdicts follow one another at once: none is lost."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import pytest
from git_damage import NOTES, refs_of, resumed
from lab import Lab, Run, check_invariants, journal, trials, use
from project import git

from agent import loop
from agent.campaign import events
from agent.git import repo as repo_module
from agent.git.command import RepoError
from agent.steps import abreast
from agent.steps.evaluate import conclude
from agent.steps.nulls import begin_null
from agent.steps.propose import propose_edit
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


def rejected(runtime: Runtime, count: int) -> list[int]:
    """Trials that end at once."""
    numbers = []
    for _ in range(count):
        loop.draw(runtime)
        propose_edit(runtime)
        numbers.append(runtime.open_trial.trial)
        conclude(runtime, "rejected", "rejected: it does not pass a check", status="invalid")
    return numbers


def put_off(runtime: Runtime, count: int = 3) -> list[str]:
    """Commits of trials whose notes have to wait, but for the first."""
    runtime.campaign.note_seconds = 3600.0
    numbers = rejected(runtime, count + 1)
    return [runtime.campaign.state.trials[number].commit for number in numbers[1:]]


def test_notes_that_were_put_off_are_one_commit(grown: Runtime, home: Path) -> None:
    commits, campaign = put_off(grown), grown.campaign
    before = refs_of(home)
    assert set(commits) <= set(before.values()) and not campaign.repo.noted("t") & {*commits}
    campaign.write_notes(last=True)
    for commit in commits:
        told = campaign.repo.read_note("t", commit)
        number = next(t.trial for t in campaign.state.trials if t.commit == commit)
        assert told and f'"trial": {number},' in told
    assert git(home, "rev-list", "--count", f"{before[NOTES]}..{NOTES}") == "1"
    assert not campaign.take_messages()
    git(home, "fsck", "--strict")


def test_a_trial_without_a_commit_keeps_no_note_away(grown: Runtime) -> None:
    commits, campaign = put_off(grown), grown.campaign
    loop.draw(grown)
    conclude(grown, "rejected", "rejected before training: no idea", status="")
    campaign.write_notes(last=True)
    assert {*commits} <= campaign.repo.noted("t") and not campaign.messages


def test_a_git_that_cannot_be_started_ends_no_run(
    grown: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RepoError("git could not be started")

    put_off(grown)
    monkeypatch.setattr(grown.campaign.repo, "blob", fail)
    grown.campaign.write_notes(last=True)
    (said,) = grown.campaign.take_messages()
    assert "could not be started" in said


def test_the_next_verdict_writes_them_when_it_is_time(grown: Runtime) -> None:
    commits = put_off(grown)
    grown.campaign.note_seconds = grown.campaign._notes_due = 0.0
    commits += [grown.campaign.state.trials[number].commit for number in rejected(grown, 1)]
    assert {*commits} <= grown.campaign.repo.noted("t")


def test_a_kill_before_they_are_written_loses_none(grown: Runtime) -> None:
    commits = put_off(grown)
    campaign = resumed(grown)
    assert {*commits} <= campaign.repo.noted("t") and not campaign.take_messages()


def test_one_whose_commit_is_gone_keeps_no_other_away(grown: Runtime, home: Path) -> None:
    """It has its note when the campaign resumes, which makes the commit again."""
    commits, campaign = put_off(grown), grown.campaign
    sha = commits[-1]
    (home / ".git/objects" / sha[:2] / sha[2:]).unlink()
    campaign.repo.reader.close()
    campaign.write_notes(last=True)
    assert {*commits[:-1]} <= campaign.repo.noted("t") and not campaign.messages
    assert {*commits} <= resumed(grown).repo.noted("t")


def test_a_lock_of_somebody_elses_is_waited_for(grown: Runtime, home: Path) -> None:
    """As while a person adds a note."""
    commits, campaign = put_off(grown), grown.campaign
    campaign.note_seconds = campaign._notes_due = 0.0
    lock = home / ".git" / f"{NOTES}.lock"
    lock.touch()
    campaign.write_notes()
    assert not campaign.repo.noted("t") & {*commits} and not campaign.messages
    lock.unlink()
    campaign.write_notes()
    assert {*commits} <= campaign.repo.noted("t")


def test_a_git_that_cannot_write_is_asked_ever_less_often_and_told_of_once(
    grown: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off(grown)
    campaign, now, tried = grown.campaign, 1e6, list[float]()

    def full(*_: object) -> None:
        tried.append(now)
        raise RepoError("no space left")

    monkeypatch.setattr("agent.campaign.store.made_notes", full)
    monkeypatch.setattr("agent.campaign.store.time.monotonic", lambda: now)
    campaign.note_seconds = 0.5
    for _ in range(2000):
        campaign.write_notes()
        now += 0.5
    pauses = [b - a for a, b in itertools.pairwise(tried)]
    assert pauses[:3] == [1.0, 2.0, 4.0] and pauses == sorted(pauses) and pauses[-1] == 60.0
    (said,) = campaign.take_messages()
    assert "no space left" in said
    campaign.write_notes(last=True)
    assert len(campaign.take_messages()) == 1


def test_a_champions_note_counts_null_trials_after_a_kill(grown: Runtime) -> None:
    """It is not put off, as it is there already when the campaign resumes."""
    campaign = grown.campaign
    campaign.note_seconds, campaign._notes_due = 3600.0, math.inf
    begin_null(grown)
    conclude(grown, "revert", "a null trial", status="ok")
    note = resumed(grown).repo.read_note("t", grown.champion.commit)
    assert note and '"nulls": [1, 0]' in note


def test_at_the_end_of_a_run_all_are_written_with_few_gits(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {}
    real = repo_module.run_git

    def counted(*args: str, **how: object) -> object:
        counts[args[0]] = counts.get(args[0], 0) + 1
        return real(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(repo_module, "run_git", counted)
    monkeypatch.setattr(abreast, "LOOK_SECONDS", 3600.0)
    use(runtime, keep="greedy", trials=8, nulls=0)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        pass
    assert run.reason == "8 trials are done"
    check_invariants(runtime)
    commits = {trial.commit for trial in trials(runtime) if trial.commit}
    assert len(commits) == 9 and commits == runtime.campaign.repo.noted("t")
    assert counts["unpack-objects"] < 2 * 9 + 4, "a note of each had a git of its own"


def test_what_fails_beside_the_lanes_ends_the_run_when_they_have_ended(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RepoError("git could not be started")

    monkeypatch.setattr(runtime.devices, "look", fail)
    monkeypatch.setattr(abreast, "LOOK_SECONDS", 0.01)
    lab.gates["heat"] = threading.Semaphore(1)  # for the baseline
    use(runtime, keep="greedy", trials=8)
    with pytest.raises(RepoError, match="could not be started"):
        loop.run_campaign(runtime)
    assert runtime.stop.is_set() and not runtime.lanes.trials
    assert isinstance(journal(runtime)[-1], events.RunEnded)
