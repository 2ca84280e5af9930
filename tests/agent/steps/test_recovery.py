"""Git brought to what the journal says, after what people, clean-ups and power cuts do to it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from project import git
from staged import play

from agent import loop
from agent.campaign import commits, recovery
from agent.campaign.records import Trial
from agent.campaign.store import Campaign
from agent.git.command import RepoError
from agent.git.repo import Repo
from agent.steps.evaluate import conclude
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process
Damage = Callable[[Path, Path], object]
REFS = ("for-each-ref", "--format=%(refname) %(objectname)")
AT_ONCE = ("-c", "gc.reflogExpire=now", "-c", "gc.reflogExpireUnreachable=now", "gc", "-q")
BETTER = [(1.7, 1.66)] * 2


def refs_of(home: Path) -> dict[str, str]:
    lines = git(home, *REFS, "refs/heads/autoresearch", "refs/autoresearch", "refs/notes")
    return dict(line.split() for line in lines.splitlines())


def resumed(runtime: Runtime) -> Campaign:
    """The campaign as the next run has it."""
    runtime.campaign.close()
    campaign = Campaign(Repo.open(runtime.campaign.repo.root), "t")
    runtime.campaign = campaign
    campaign.reconcile()
    return campaign


def delete(home: Path, *prefixes: str) -> None:
    for ref in git(home, "for-each-ref", "--format=%(refname)", *prefixes).splitlines():
        git(home, "update-ref", "-d", ref)


def delete_all(home: Path, worktree: Path) -> None:
    delete(home, "refs/heads/autoresearch", "refs/autoresearch", "refs/notes")


def prune_all(home: Path, worktree: Path) -> None:
    tip = git(home, "rev-parse", "autoresearch/t")
    git(home, "worktree", "remove", "--force", str(worktree))
    delete_all(home, worktree)
    git(home, *AT_ONCE, "--prune=now")
    with pytest.raises(Exception, match="exit status"):
        git(home, "cat-file", "-e", tip)


def empty_refs(home: Path, worktree: Path) -> None:
    """What file systems leave of a file that was written just before a power cut."""
    (home / ".git/refs/heads/autoresearch/t").write_bytes(b"")
    (home / ".git/refs/autoresearch/t/trials/3").write_bytes(bytes(41))


def prune_worktree(home: Path, worktree: Path) -> None:
    shutil.rmtree(worktree)
    git(home, "worktree", "prune")


GONE: dict[str, tuple[Damage, str]] = {
    "nothing": (lambda home, worktree: None, ""),
    "branch": (lambda home, worktree: delete(home, "refs/heads/autoresearch"), "put back: 1"),
    "refs": (lambda home, worktree: delete(home, "refs/autoresearch"), "put back: 4"),
    "notes": (lambda home, worktree: delete(home, "refs/notes"), ""),
    "all of it": (delete_all, "put back: 5"),
    "all of it, and the commits": (prune_all, "4 of the campaign's commits"),
    "bytes": (empty_refs, "put back: 1"),
    "worktree": (lambda home, worktree: shutil.rmtree(worktree), ""),
    "worktree, registered no more": (prune_worktree, ""),
    "loose refs": (lambda home, worktree: git(home, "pack-refs", "--all", "--prune"), ""),
    "loose objects": (lambda home, worktree: git(home, *AT_ONCE, "--prune=now"), ""),
    "renamed": (lambda home, worktree: git(home, "branch", "-m", "autoresearch/t", "x"), "back: 1"),
    "moved back": (
        lambda home, worktree: git(worktree, "reset", "-q", "--hard", "HEAD~1"),
        "moved back",
    ),
    "moved back before a trial that was rejected": (
        lambda home, worktree: git(worktree, "reset", "-q", "--hard", "HEAD~1"),
        "moved back",
    ),
    "moved back to the start": (
        lambda home, worktree: git(home, "update-ref", "refs/heads/autoresearch/t", "HEAD"),
        "moved back",
    ),
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_comes_back_as_it_was(what: str, grown: Runtime, home: Path) -> None:
    damage, words = GONE[what]
    worktree = grown.campaign.folder / "worktree"
    champion = grown.champion
    if "rejected" in what:
        loop.draw(grown)
        conclude(grown, "rejected", "rejected before training: no idea", status="")
    before = refs_of(home)
    damage(home, worktree)
    campaign = resumed(grown)
    assert words in "; ".join(campaign.take_messages())
    assert refs_of(home) == before
    assert git(home, "rev-parse", "autoresearch/t") == champion.commit
    if what != "renamed":  # then git moves the worktree to the new name
        assert git(worktree, "status", "--porcelain", "--branch") == "## autoresearch/t"
        source = campaign.source(champion.commit)
        assert (worktree / "trainer/train.py").read_bytes() == source.encode()
    git(home, "fsck", "--strict")
    campaign = resumed(grown)
    assert not campaign.messages or what == "renamed"


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
        assert refs_of(home) == before | {f"refs/autoresearch/t/moved/{mine[:12]}": mine}
    play(monkeypatch, *BETTER)
    said: list[str] = []
    monkeypatch.setattr(grown.display, "message", said.append)
    said += grown.campaign.take_messages()
    loop.one_trial(grown)
    assert [mine[:12] in line and "by somebody" in line for line in said].count(True) == 1
    assert git(home, "rev-parse", f"refs/autoresearch/t/moved/{mine[:12]}") == mine
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

    def commit_again(repo: Repo, settings: Mapping[str, Any], trial: Trial) -> bool:
        return trial.trial not in lost and commits.commit_again(repo, settings, trial)

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


def test_refs_that_cannot_be_written_do_not_end_a_run(
    grown: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that a killed git left: told with its name, and brought up when it is gone."""
    lock = home / ".git/refs/heads/autoresearch/t.lock"
    lock.write_text("")
    play(monkeypatch, *BETTER)
    said: list[str] = []
    monkeypatch.setattr(grown.display, "message", said.append)
    loop.one_trial(grown)
    assert any("t.lock" in line for line in said)
    assert grown.champion.trial == 4
    campaign = resumed(grown)
    assert any("t.lock" in line for line in campaign.take_messages())
    lock.unlink()
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
