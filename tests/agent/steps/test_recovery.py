"""Git brought to what the journal says, after what people, clean-ups and power cuts do to it."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from git_damage import (
    AT_ONCE,
    BETTER,
    GONE,
    NOTES,
    delete_all,
    of_the_note,
    prune_all,
    refs_of,
    resumed,
)
from project import git
from staged import play

from agent import loop
from agent.campaign import commits, events, recovery
from agent.campaign.records import Trial
from agent.campaign.store import Campaign
from agent.git.command import RepoError
from agent.git.repo import Repo
from agent.steps.evaluate import conclude
from agent.steps.propose import propose_edit
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import Measurement

pytestmark = pytest.mark.process
Damage = Callable[[Path, Path], object]


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_comes_back_as_it_was(what: str, grown: Runtime, home: Path) -> None:
    damage, words = GONE[what]
    worktree = grown.campaign.folder / "worktree"
    champion = grown.champion
    if "rejected" in what:
        loop.draw(grown)
        conclude(grown, "rejected", "rejected before training: no idea", status="")
    before, note = refs_of(home), of_the_note(home)
    damage(home, worktree)
    campaign = resumed(grown)
    assert words in "; ".join(campaign.take_messages())
    assert of_the_note(home) == note
    if "a note" in what:
        before[NOTES] = refs_of(home)[NOTES]
    assert refs_of(home) == before
    assert git(home, "rev-parse", "autoresearch/t") == champion.commit
    if what != "renamed":  # then git moves the worktree to the new name
        assert git(worktree, "status", "--porcelain", "--branch") == "## autoresearch/t"
        source = campaign.source(champion.commit)
        assert (worktree / "trainer/train.py").read_bytes() == source.encode()
    if "another" not in what:  # nor does fsck work with it
        git(home, "fsck", "--strict")
    campaign = resumed(grown)
    assert not campaign.messages or what == "renamed"


@pytest.mark.parametrize("ended", [False, True], ids=["open", "rejected"])
@pytest.mark.parametrize("known", [True, False], ids=["in the journal", "not in the journal"])
def test_a_candidate_that_was_sent_back(
    known: bool, ended: bool, grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs it, and a later reply that was of no use is not what it was made from."""
    loop.draw(grown)
    propose_edit(grown)
    campaign, trial = grown.campaign, grown.open_trial
    campaign.record(events.SentBack(trial=4, reason="it crashed"))
    useless = events.Proposed(
        trial=4, proposer="llm", reply="I think so.", envelope="edits", data={}, model="",
        usage=None, cost_usd=None, program=trial.program,
    )  # fmt: skip
    campaign.record(useless)
    campaign.record(events.TurnedDown(trial=4, reason="there is no edit"))
    if ended:
        conclude(grown, "rejected", "rejected: no idea", status="crashed")
    before = refs_of(home)
    if not known:
        again = commits.commit_again
        monkeypatch.setattr(
            recovery, "commit_again", lambda r, s, t: t.trial == 4 or again(r, s, t)
        )
    prune_all(home, campaign.folder / "worktree")
    campaign = resumed(grown)
    said = "; ".join(campaign.take_messages())
    assert "5 of the campaign's commits" in said if known else "for good: 4" in said
    assert (refs_of(home) == before) is known
    if not ended:
        conclude(grown, "rejected", "rejected: no idea", status="crashed")


def test_what_is_pruned_in_the_middle_of_a_trial_comes_back(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it, and in each of its heats."""
    place, before = grown.campaign.folder / "worktree", refs_of(home)
    play(monkeypatch, *BETTER)
    heat = measure.heat

    def wiped(*args: Any, **options: Any) -> list[Measurement]:
        found = heat(*args, **options)
        prune_all(home, place)
        return found

    monkeypatch.setattr(measure, "heat", wiped)
    prune_all(home, place)
    loop.one_trial(grown)
    assert grown.champion.trial == 4
    after = refs_of(home)
    assert after["refs/heads/autoresearch/t"] == grown.champion.commit
    assert [ref for ref in before if after.get(ref) != before[ref]] == [
        "refs/heads/autoresearch/t", "refs/notes/autoresearch/t",
    ]  # fmt: skip
    git(home, "fsck", "--strict")


def test_a_lost_start_is_told_by_the_next_run(grown: Runtime, home: Path) -> None:
    base = grown.campaign.state.settings["base"]
    git(home, "commit", "-q", "--amend", "-m", "another")
    grown.campaign.close()
    prune_all(home, grown.campaign.folder / "worktree")
    git(home, *AT_ONCE, "--prune=now")
    done = run_here(home, "run", "--tag", "t", "--llm", "none")
    assert done.returncode == 2
    assert f"pruned the commit that it started from ({base[:12]})" in done.stderr


@pytest.mark.parametrize("way", ["moved", "trials/1/x"])
def test_a_ref_of_the_users_in_the_way_keeps_no_branch_away(
    way: str, grown: Runtime, home: Path
) -> None:
    before = refs_of(home)
    delete_all(home, grown.campaign.folder / "worktree")
    mine = commit_on_another(home, home)
    git(home, "update-ref", f"refs/autoresearch/t/{way}", "HEAD")
    said = "; ".join(resumed(grown).take_messages())
    assert mine[:12] in said and ("not all of the campaign is in git" in said) is ("x" in way)
    for ref in ("refs/heads/autoresearch/t", "refs/autoresearch/t/base"):
        assert refs_of(home)[ref] == before[ref]
    assert mine in refs_of(home).values()


def test_a_ref_of_the_users_in_the_way_keeps_no_note_away(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note of a trial is moved together with its ref, if that can be moved."""
    git(home, "update-ref", "refs/autoresearch/t/trials/4/x", "HEAD")
    play(monkeypatch, *BETTER)
    loop.one_trial(grown)
    assert grown.champion.trial == 4
    assert grown.campaign.repo.read_note("t", grown.champion.commit)
    assert "refs/autoresearch/t/trials/4" not in refs_of(home)


def test_a_journal_that_is_an_older_copy(grown: Runtime, home: Path) -> None:
    """The commits after it are the campaign's own, and nobody's hands made them."""
    journal = grown.campaign.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b'"trial":3' in line.replace(b" ", b""))
    journal.write_bytes(b"".join(lines[:last]))
    said = "; ".join(resumed(grown).take_messages())
    assert "by the campaign itself, later than its journal" in said and "somebody" not in said


def commit_by_hand(folder: Path) -> str:
    (folder / "trainer/train.py").write_text("# mine\n")
    git(folder, "commit", "-qam", "mine")
    return git(folder, "rev-parse", "HEAD")


def commit_on_another(home: Path, worktree: Path) -> str:
    """A branch that was rebased, or made anew for something else."""
    mine = git(home, "commit-tree", "-m", "mine", "HEAD^{tree}")
    git(home, "update-ref", "refs/heads/autoresearch/t", mine)
    return mine


def move_a_trial(home: Path, worktree: Path) -> str:
    mine = git(home, "commit-tree", "-m", "mine", "HEAD^{tree}")
    git(home, "update-ref", "refs/autoresearch/t/trials/2", mine)
    return mine


BY_HAND = {
    "forward": lambda home, worktree: commit_by_hand(worktree),
    "elsewhere": commit_on_another,
    "a trial": move_a_trial,
}


@pytest.mark.parametrize("mid_run", [False, True], ids=["between runs", "mid-run"])
@pytest.mark.parametrize("how", BY_HAND)
def test_a_commit_of_the_users_is_kept_and_the_campaign_goes_on(
    how: str, mid_run: bool, grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worktree, before = grown.campaign.folder / "worktree", refs_of(home)
    mine = BY_HAND[how](home, worktree)
    if not mid_run or how == "a trial":
        resumed(grown)
        assert refs_of(home) == before | {f"refs/autoresearch/t/moved-{mine[:12]}": mine}
    play(monkeypatch, *BETTER)
    said: list[str] = []
    monkeypatch.setattr(grown.display, "message", said.append)
    said += grown.campaign.take_messages()
    loop.one_trial(grown)
    assert [mine[:12] in line and "by somebody" in line for line in said].count(True) == 1
    assert git(home, "rev-parse", f"refs/autoresearch/t/moved-{mine[:12]}") == mine
    assert git(home, "rev-parse", "autoresearch/t") == grown.champion.commit
    assert grown.champion.trial == 4
    if how != "elsewhere":
        assert git(worktree, "status", "--porcelain", "--branch") == "## autoresearch/t"


def test_edits_in_the_worktree_stay_after_the_branch_was_moved(grown: Runtime, home: Path) -> None:
    worktree = grown.campaign.folder / "worktree"
    (worktree / "trainer/train.py").write_text("# mine, not committed\n")
    delete_all(home, worktree)
    resumed(grown)
    assert (worktree / "trainer/train.py").read_text() == "# mine, not committed\n"


def test_what_cannot_be_made_again_is_named(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that words its messages otherwise makes other commits."""
    campaign, lost = grown.campaign, {2}

    def commit_again(repo: Repo, settings: Mapping[str, Any], trial: Trial) -> None:
        if trial.trial not in lost:
            commits.commit_again(repo, settings, trial)

    monkeypatch.setattr(recovery, "commit_again", commit_again)
    champion = grown.champion
    prune_all(home, campaign.folder / "worktree")
    assert any("for good: 2" in said for said in resumed(grown).take_messages())
    assert git(home, "rev-parse", "autoresearch/t") == champion.commit
    assert "refs/autoresearch/t/trials/2" not in refs_of(home)

    lost.add(champion.trial)
    prune_all(home, campaign.folder / "worktree")
    with pytest.raises(RepoError, match=r"of its champion .*git fetch") as caught:
        resumed(grown)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("by", [".", "-C"])
def test_refs_that_cannot_be_written_do_not_end_a_run(
    by: str, grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock: told with its name, and removed at a start at which no git is at work that may have
    it; then all is brought up."""
    lock = home / ".git/refs/heads/autoresearch/t.lock"
    lock.write_text("")
    play(monkeypatch, *BETTER)
    said: list[str] = []
    monkeypatch.setattr(grown.display, "message", said.append)
    loop.one_trial(grown)
    assert any("t.lock" in line for line in said)
    assert grown.champion.trial == 4
    where = ([], home) if by == "." else (["-C", str(home)], home.parent)
    command = ["git", *where[0], "hash-object", "--stdin"]
    with subprocess.Popen(command, cwd=where[1], stdin=subprocess.PIPE):
        assert f"{lock}': File exists" in "; ".join(resumed(grown).messages)
    removed = f"{lock} was left by a git that was killed: removed"
    assert resumed(grown).messages == [removed]
    assert not resumed(grown).messages
    assert git(home, "rev-parse", "autoresearch/t") == grown.champion.commit
    assert git(home, "rev-parse", "refs/autoresearch/t/trials/4") == grown.champion.commit


def test_a_branch_that_the_user_has_checked_out_is_not_moved(grown: Runtime, home: Path) -> None:
    git(home, "worktree", "remove", "--force", str(grown.campaign.folder / "worktree"))
    git(home, "switch", "-q", "autoresearch/t")
    with pytest.raises(RepoError, match="switch OTHER-BRANCH"):
        resumed(grown)
    git(home, "switch", "-q", "main")
    assert not resumed(grown).messages


def test_a_shallow_clone_that_was_killed_before_its_baseline(
    runtime: Runtime, home: Path, tmp_path: Path
) -> None:
    (home / "README.md").write_text("one more commit, so that a clone can be shallow\n")
    git(home, "add", "README.md")
    git(home, "commit", "-qm", "more")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{home}", str(shallow))
    campaign = Campaign(Repo.open(shallow), "t")
    campaign.begin(runtime.settings, {"device": "cpu"})
    campaign.reconcile()
    other = dataclasses.replace(runtime, campaign=campaign)
    assert not resumed(other).messages
    assert git(campaign.folder / "worktree", "status", "--porcelain") == ""
    other.campaign.close()


def test_a_repository_that_was_moved(grown: Runtime, home: Path, tmp_path: Path) -> None:
    grown.campaign.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in list(home.iterdir()):
        if path != moved:
            path.rename(moved / path.name)
    campaign = Campaign(Repo.open(moved), "t")
    campaign.reconcile()
    campaign.close()
    assert not campaign.messages
    worktree = campaign.folder / "worktree"
    assert git(worktree, "status", "--porcelain", "--branch") == "## autoresearch/t"
    assert [p.name for p in campaign.folder.glob("worktree*")] == ["worktree"]
