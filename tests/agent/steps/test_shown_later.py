"""What git shows of trials a little later, where many end at once: refs, notes, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_damage import BETTER, NOTES, refs_of, resumed
from lab import Lab, Run, check_invariants, trials, use
from project import git
from staged import play

from agent import loop
from agent.campaign.files import folder_of
from agent.campaign.recovery import MANY_SLOTS
from agent.executors.local import Local
from agent.git import repo as repo_module
from agent.git.repo import Repo
from agent.steps.evaluate import conclude
from agent.steps.propose import propose_edit
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process
ONE = "refs/autoresearch/t/trials/{}"


def rejected(runtime: Runtime) -> int:
    """A trial that is drawn, committed, and rejected before anything else is shown."""
    loop.draw(runtime)
    propose_edit(runtime)
    number = runtime.open_trial.trial
    conclude(runtime, "rejected", "rejected: it does not pass a check", status="invalid")
    return number


def test_trials_are_shown_together_when_it_is_time(grown: Runtime, home: Path) -> None:
    before, campaign = refs_of(home), grown.campaign
    campaign.shows_later = True
    numbers = [rejected(grown) for _ in range(3)]
    assert refs_of(home) == before
    campaign.show()
    after = refs_of(home)
    for number in numbers:
        commit = campaign.state.trials[number].commit
        assert after[ONE.format(number)] == commit and campaign.repo.read_note("t", commit)
    assert git(home, "rev-list", "--count", f"{before[NOTES]}..{NOTES}") == "1"
    assert not campaign.take_messages()
    git(home, "fsck", "--strict")


def test_a_new_champion_is_shown_at_once(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that waits; the worktree has its files."""
    campaign = grown.campaign
    campaign.shows_later = True
    first = rejected(grown)
    play(monkeypatch, *BETTER)
    loop.one_trial(grown)
    after, champion = refs_of(home), grown.champion
    assert champion.trial == first + 1
    assert after["refs/heads/autoresearch/t"] == champion.commit
    assert after[ONE.format(first)] == campaign.state.trials[first].commit
    file = campaign.folder / "worktree/trainer/train.py"
    assert file.read_text() == campaign.source(champion.commit)


def test_a_kill_before_they_are_shown_loses_nothing_and_blames_nobody(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "slots", MANY_SLOTS + 1)
    grown.campaign.shows_later = True
    numbers = [rejected(grown) for _ in range(3)]
    campaign = resumed(grown)
    assert not campaign.take_messages()  # such as that somebody has deleted them
    assert {ONE.format(number) for number in numbers} <= refs_of(home).keys()
    assert {campaign.state.trials[number].commit for number in numbers} <= campaign.repo.noted("t")


@pytest.mark.parametrize("slots", [1, MANY_SLOTS + 1])
def test_many_devices_cost_less_git_a_trial_and_end_with_all_of_it_in_git(
    runtime: Runtime, lab: Lab, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {}
    real = repo_module.run_git

    def counted(*args: str, **how: object) -> object:
        counts[args[0]] = counts.get(args[0], 0) + 1
        return real(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(repo_module, "run_git", counted)
    lab.slots = slots
    use(runtime, keep="greedy", trials=16, nulls=0)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        pass
    assert run.reason == "16 trials are done"
    check_invariants(runtime)
    assert counts["update-ref"] > 32 if slots == 1 else counts["update-ref"] < 26
    campaign = runtime.campaign
    commits = {trial.commit for trial in trials(runtime) if trial.commit}
    assert len(commits) == 17 and commits == campaign.repo.noted("t")
    shown = refs_of(campaign.repo.root)
    for trial in trials(runtime):
        assert shown[ONE.format(trial.trial)] == trial.commit
    curves = folder_of(Repo.open(campaign.repo.root), "t") / "trials"
    assert len([*curves.glob("*/training-*.trace")]) == 17
