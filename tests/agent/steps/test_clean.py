"""``clean``: says what would go, takes all of it and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Done, run_here
from project import git

from agent.campaign import snapshot
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.steps import clean
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


@pytest.fixture
def ended(grown: Runtime) -> Path:
    """The repository of a campaign that does not run, and is long enough for a snapshot."""
    campaign = grown.campaign
    snapshot.save(campaign.journal.path, campaign.state, campaign.journal.place)
    campaign.close()
    return grown.campaign.repo.root


def cleaned(home: Path, *args: str) -> Done:
    done = run_here(home, "clean", *args)
    assert "Traceback" not in done.stderr
    return done


def traces(home: Path, tag: str = "t") -> list[str]:
    """All that names the campaign."""
    refs = git(home, "for-each-ref", "--format=%(refname)").splitlines()
    trees = git(home, "worktree", "list", "--porcelain").splitlines()
    folder = home / "campaigns" / tag
    found = [ref for ref in refs if f"autoresearch/{tag}" in ref]
    found += [line for line in trees if f"campaigns/{tag}/" in line]
    found += [str(path) for path in (home / ".git").rglob("*") if path.match(f"autoresearch/{tag}")]
    return found + [str(folder)] * folder.exists()


def test_it_only_says_what_without_yes(ended: Path) -> None:
    before = git(ended, "for-each-ref")
    done = cleaned(ended)
    assert done.returncode == 0
    for words in ("campaign t", "refs: 7;", "worktree", "MB", "nothing was removed", "--yes"):
        assert words in done.stdout
    assert "YOURS" not in done.stdout
    assert json.loads(cleaned(ended, "--json").stdout)["removed"] is False
    assert git(ended, "for-each-ref") == before
    assert (ended / "campaigns/t/worktree/trainer/train.py").exists()


def test_after_it_nothing_is_left_and_what_is_adopted_stays(ended: Path) -> None:
    git(ended, "merge", "-q", "--no-edit", "autoresearch/t")
    git(ended, "config", "branch.autoresearch/t.remote", "origin")
    git(ended, "branch", "autoresearch/other")
    head, mine = git(ended, "rev-parse", "HEAD"), git(ended, "status", "--porcelain")
    champion = git(ended, "rev-parse", "autoresearch/t")
    found = json.loads(cleaned(ended, "--tag", "t", "--yes", "--json").stdout)
    assert found["removed"] is True and found["tag"] == "t" and found["bytes"] > 1000
    assert found["folder"] == str(ended / "campaigns/t")
    assert found["worktree"] == str(ended / "campaigns/t/worktree")
    assert found["refs"]["refs/heads/autoresearch/t"] == champion
    assert "refs/notes/autoresearch/t" in found["refs"]
    assert traces(ended) == []
    assert "autoresearch/t" not in (ended / ".git/config").read_text()
    git(ended, "-c", "gc.reflogExpireUnreachable=now", "gc", "-q", "--prune=now")
    assert git(ended, "rev-parse", "HEAD") == head
    assert git(ended, "status", "--porcelain") == mine
    git(ended, "merge-base", "--is-ancestor", champion, "HEAD")
    git(ended, "rev-parse", "autoresearch/other")
    gone = cleaned(ended, "--tag", "t", "--yes")
    assert gone.returncode == 2 and "there is no campaign 't'" in gone.stderr


def test_what_is_the_users_is_said(ended: Path) -> None:
    folder = ended / "campaigns/t"
    (folder / "notes.txt").write_text("mine")
    (folder / "notebook.md").write_text("the campaign's own")
    (folder / "trials/1/notebook-reply.md").write_text("the campaign's own")
    (folder / "worktree/trainer/train.py").write_text("# mine")
    (folder / "worktree/more notes.txt").write_text("mine")
    (folder / "trials/1/notes.png").write_text("mine")
    tip = git(ended, "commit-tree", "-m", "mine", "HEAD^{tree}")
    git(ended, "update-ref", "refs/heads/autoresearch/t", tip)
    text = cleaned(ended).stdout
    yours = (f"commit {tip[:12]} (refs/heads/autoresearch/t)", folder / "notes.txt")
    yours += (folder / "trials/1/notes.png",)
    yours += tuple(folder / "worktree" / name for name in ("trainer/train.py", "more notes.txt"))
    for one in yours:
        assert f"YOURS, and removed as well: {one}\n" in text
    assert len(json.loads(cleaned(ended, "--json").stdout)["yours"]) == 5


def test_it_refuses_while_the_campaign_runs(grown: Runtime, home: Path) -> None:
    done = cleaned(home, "--yes")
    assert done.returncode == 2 and "is running" in done.stderr
    assert len(traces(home)) > 7


def test_it_refuses_while_the_user_is_on_the_branch(ended: Path) -> None:
    shutil.rmtree(ended / "campaigns/t/worktree")
    git(ended, "worktree", "prune")
    git(ended, "switch", "-q", "autoresearch/t")
    done = cleaned(ended, "--yes")
    assert done.returncode == 2 and "switch OTHER-BRANCH" in done.stderr


def test_a_branch_that_is_no_campaigns_is_left(ended: Path) -> None:
    git(ended, "branch", "autoresearch/mine")
    done = cleaned(ended, "--tag", "mine", "--yes")
    assert done.returncode == 2 and "there is no campaign" in done.stderr
    assert cleaned(ended, "--tag", "../..", "--yes").returncode == 2
    git(ended, "rev-parse", "autoresearch/mine")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["git", "delete_refs", "last file", "end"])
def test_what_a_kill_leaves_can_be_removed(
    moment: str, ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = Repo.open(ended)
    found = clean.remains_of(repo, "t")

    def die(*args: object, **options: object) -> None:
        raise Killed

    def die_at_the_table(path: Path, **options: object) -> None:
        if path.name == "results.tsv":
            raise Killed
        os.unlink(path)  # noqa: PTH108

    with monkeypatch.context() as patch:
        if moment == "last file":
            patch.setattr(Path, "unlink", die_at_the_table)
        elif moment == "end":
            patch.setattr(Path, "rmdir", die)
        else:
            patch.setattr(repo, moment, die)
        with pytest.raises(Killed):
            clean.remove(repo, found)
    # Another command than clean finds the campaign as long as anything else is there.
    cleaned(ended, *(() if moment != "end" else ("--tag", "t")), "--yes")
    assert traces(ended) == []


def broken_journal(folder: Path) -> None:
    (folder / "journal.jsonl").write_bytes(b"{}\n{}\n" + bytes(50))


def broken_link(folder: Path) -> None:
    (folder / "worktree/.git").write_text("gitdir: /nowhere\n")


def elsewhere(folder: Path) -> None:
    """On a larger disk."""
    target = folder.parents[1] / "large disk"
    folder.rename(target)
    folder.symlink_to(target)


@pytest.mark.parametrize("damage", [broken_journal, broken_link, elsewhere])
def test_a_campaign_that_is_broken_can_be_removed(
    damage: Callable[[Path], None], ended: Path
) -> None:
    damage(ended / "campaigns/t")
    done = cleaned(ended, "--tag", "t", "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(ended) == []
    assert not (ended / "large disk").exists()


def test_the_tag_is_free_again(ended: Path) -> None:
    cleaned(ended, "--yes")
    campaign = Campaign(Repo.open(ended), "t")
    assert campaign.is_new
    campaign.close()
