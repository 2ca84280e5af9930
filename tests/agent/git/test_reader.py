"""The git that stays open to read: it sees what others do, and is not missed when it dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agent.git import repo as repo_module
from agent.git import worktree
from agent.git.command import RepoError
from agent.git.repo import Repo

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git


@pytest.fixture
def reading(repo: Repo) -> Iterator[Repo]:
    repo.reader.open()
    yield repo
    repo.reader.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The gits that are run for one question each."""
    found: list[Any] = []
    run = repo_module.run_git

    def noted(*args: str, **how: Any) -> Any:
        found.append(args)
        return run(*args, **how)

    monkeypatch.setattr(repo_module, "run_git", noted)
    return found


def process_of(repo: Repo) -> psutil.Process:
    (found,) = [p for p in psutil.Process().children() if "cat-file" in p.cmdline()]
    return found


def test_one_git_reads_all(reading: Repo, campaign: Campaign, asked: list[Any], git: Git) -> None:
    head = reading.head()
    sha = reading.commit_file(head, campaign.BEST, "m\n", campaign.WHEN)
    asked.clear()
    before = process_of(reading).pid
    for _ in range(3):
        assert reading.read_file(sha) == campaign.BEST
        assert reading.commit_for(sha).parent == head
    git(reading.root, "commit", "--quiet", "--allow-empty", "-m", "by the user")
    new = git(reading.root, "rev-parse", "HEAD").strip()
    assert reading.commit_for(new).message == "by the user\n"
    git(reading.root, "gc", "--quiet", "--prune=now")  # moves all into another pack
    assert reading.commit_for(new).message == "by the user\n"
    assert not asked and process_of(reading).pid == before


def test_it_is_started_again_if_it_has_died(reading: Repo, campaign: Campaign) -> None:
    head = reading.head()
    assert reading.commit_for(head).sha == head
    first = process_of(reading)
    first.kill()
    first.wait()
    for _ in range(2):
        assert reading.commit_for(head).sha == head
    assert process_of(reading).pid != first.pid


def test_a_damaged_object_is_told_as_ever(reading: Repo, campaign: Campaign) -> None:
    sha = reading.commit_file("HEAD", campaign.BEST, "m\n", campaign.WHEN)
    path = reading.common_dir / "objects" / sha[:2] / sha[2:]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with pytest.raises(RepoError, match=r"loose object"):
        reading.commit_for(sha)
    assert reading.read_file(reading.head()) == campaign.FIRST  # by another git
    path.unlink()
    with pytest.raises(RepoError, match="names no commit"):
        reading.commit_for(sha)
    reading.commit_file("HEAD", campaign.BEST, "m\n", campaign.WHEN)
    assert reading.read_file(sha) == campaign.BEST


def test_a_name_that_may_mean_something_else_later_is_not_asked(
    reading: Repo, campaign: Campaign
) -> None:
    first = reading.head()
    assert reading.commit_for("HEAD").sha == reading.commit_for(first[:12]).sha == first
    assert not [p for p in psutil.Process().children() if "cat-file" in p.cmdline()]
    assert reading.resolve("0" * 40) is None


def test_a_closed_one_leaves_nothing_and_is_not_started_again(repo: Repo) -> None:
    head, me = repo.head(), psutil.Process()
    before = me.num_fds(), len(me.children())
    repo.reader.open()
    repo.read_file(head)
    assert (me.num_fds(), len(me.children())) != before
    repo.reader.close()
    assert repo.read_file(head)
    assert (me.num_fds(), len(me.children())) == before


def test_a_reader_is_no_git_at_work(reading: Repo, campaign: Campaign) -> None:
    """One of another campaign may be open for days, and what a killed git locked has to go."""
    campaign.start(reading)
    reading.read_file(reading.head())
    assert process_of(reading).is_running()
    lock = reading.common_dir / f"{reading.branch('t')}.lock"
    lock.touch()
    assert worktree.remove_locks(reading, "t", reading.root / "campaigns/t/worktree") == [lock]
