"""The campaign's worktree and ``adopt``, on real repositories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from project import trailers

from agent.git import worktree
from agent.git.command import RepoError
from agent.git.message import commit_message
from agent.git.repo import Repo

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git

    Snapshot = Callable[[Path], dict[str, object]]


@pytest.fixture
def folder(repo: Repo) -> Path:
    return repo.root / "campaigns/t/worktree"


def advance(repo: Repo, content: str) -> tuple[str, str]:
    """One more kept commit on the branch: (old tip, new tip)."""
    old = repo.commit_for("autoresearch/t").sha
    new = repo.commit_file(old, content, "kept\n", 1_700_000_000)
    repo.update_refs([(repo.branch("t"), new, old)])
    return old, new


def test_sync_is_clean_and_can_be_repeated(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    old, new = advance(repo, campaign.BEST)
    assert worktree.sync(repo, folder, new, old) is None
    assert worktree.sync(repo, folder, new, old) is None
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "symbolic-ref", "HEAD").strip() == "refs/heads/autoresearch/t"


def test_add_catches_up_after_a_kill_between_move_and_sync(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    advance(repo, campaign.BEST)
    assert worktree.add(repo, "t", folder) is None
    assert (folder / "trainer/train.py").read_text() == campaign.BEST
    assert git(folder, "status", "--porcelain") == ""


@pytest.mark.parametrize("added", [False, True], ids=["edited", "edited and staged"])
def test_sync_keeps_the_users_edit(
    repo: Repo, git: Git, folder: Path, added: bool, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    (folder / "trainer/train.py").write_text("mine\n")
    (folder / "README.md").write_text("mine, too\n")
    if added:
        git(folder, "add", "-A")
    old, new = advance(repo, campaign.BEST)
    said = worktree.sync(repo, folder, new, old)
    assert said is not None and "edits of yours" in said
    assert (folder / "trainer/train.py").read_text() == "mine\n"
    assert (folder / "README.md").read_text() == "mine, too\n"
    assert "+mine" in git(folder, "diff", "HEAD", "--", "trainer/train.py")

    git(folder, "checkout", "HEAD", "--", "trainer/train.py")
    old, new = advance(repo, campaign.FIRST)
    # README.md differs still, but the branch never changes it, so it is in nobody's way.
    assert worktree.sync(repo, folder, new, old) is None
    assert (folder / "trainer/train.py").read_text() == campaign.FIRST
    assert (folder / "README.md").read_text() == "mine, too\n"


@pytest.mark.parametrize("left", ["old", "older", "cut off", "empty"])
def test_what_a_killed_git_left_is_no_edit_of_the_users(
    repo: Repo, git: Git, folder: Path, campaign: Campaign, left: str
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    train_py = folder / "trainer/train.py"
    older = train_py.read_text()
    old, new = advance(repo, campaign.BEST)
    git(folder, "read-tree", new)  # and no more: its files were not written yet
    assert worktree.sync(repo, folder, new, old) is None
    assert train_py.read_text() == campaign.BEST
    previous, newest = advance(repo, campaign.BEST + "# newest\n")
    git(folder, "read-tree", newest)
    train_py.write_text(
        {"old": campaign.BEST, "older": older, "cut off": campaign.BEST[:9], "empty": ""}[left]
    )
    assert worktree.sync(repo, folder, newest, previous) is None
    assert train_py.read_text() == campaign.BEST + "# newest\n"
    assert git(folder, "status", "--porcelain") == ""


def test_sync_of_a_worktree_that_is_gone_or_elsewhere(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    git(folder, "checkout", "--quiet", "-b", "detour")
    old, new = advance(repo, campaign.BEST)
    said = worktree.sync(repo, folder, new, old)
    assert said is not None and "no longer on the campaign's branch" in said
    assert (folder / "trainer/train.py").read_text() == campaign.BETTER
    said = worktree.add(repo, "t", folder)
    assert said is not None and "is not on autoresearch/t" in said
    shutil.rmtree(folder)
    said = worktree.sync(repo, folder, new, old)
    assert said is not None and "gone" in said


def test_sync_when_the_index_is_locked(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    lock = Path(git(folder, "rev-parse", "--absolute-git-dir").strip()) / "index.lock"
    lock.write_text("")
    old, new = advance(repo, campaign.BEST)
    said = worktree.sync(repo, folder, new, old)
    assert said is not None and "index.lock" in said
    lock.unlink()
    assert worktree.sync(repo, folder, new, old) is None
    assert (folder / "trainer/train.py").read_text() == campaign.BEST


def test_add_over_what_a_kill_or_the_user_left(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    worktree.add(repo, "t", folder)
    admin = Path(git(folder, "rev-parse", "--absolute-git-dir").strip())

    shutil.rmtree(folder)  # registered, but gone
    assert worktree.add(repo, "t", folder) is None
    assert (folder / "trainer/train.py").read_text() == campaign.BETTER

    (folder / "notes.txt").write_text("mine\n")
    shutil.rmtree(admin)  # there, but its registration was pruned
    said = worktree.add(repo, "t", folder)
    assert said is not None and "moved to" in said
    assert (folder / "trainer/train.py").read_text() == campaign.BETTER
    assert [p.read_text() for p in folder.parent.glob("*.old-*/notes.txt")] == ["mine\n"]

    admin = Path(git(folder, "rev-parse", "--absolute-git-dir").strip())
    (admin / "locked").write_text("initializing")  # cut off while git made it
    (admin / "index").unlink()
    (folder / "trainer/train.py").unlink()
    worktree.add(repo, "t", folder)
    assert git(folder, "status", "--porcelain") == ""


def test_add_leaves_the_users_own_worktrees_registered(
    repo: Repo, git: Git, folder: Path, tmp_path: Path, campaign: Campaign
) -> None:
    away = tmp_path / "unplugged"
    git(repo.root, "worktree", "add", "--quiet", "-b", "side", str(away))
    shutil.rmtree(away)
    campaign.cycle(repo)
    shutil.rmtree(folder)
    worktree.add(repo, "t", folder)
    assert str(away) in git(repo.root, "worktree", "list", "--porcelain")


def test_branch_that_is_checked_out_by_the_user(
    repo: Repo, git: Git, folder: Path, campaign: Campaign
) -> None:
    campaign.start(repo)
    git(repo.root, "checkout", "--quiet", "autoresearch/t")
    with pytest.raises(RepoError, match="checked out in"):
        worktree.refuse_if_checked_out(repo, "t", folder)


def test_a_copy_of_the_repository_goes_on_by_itself(
    repo: Repo, folder: Path, campaign: Campaign
) -> None:
    campaign.cycle(repo)
    copy = repo.root.with_name("copy")
    shutil.copytree(repo.root, copy, symlinks=True)
    copied = Repo.open(copy)
    worktree.add(copied, "t", copy / "campaigns/t/worktree")
    old, new = advance(copied, campaign.FIRST)
    assert worktree.sync(copied, copy / "campaigns/t/worktree", new, old) is None
    assert (copy / "campaigns/t/worktree/trainer/train.py").read_text() == campaign.FIRST
    assert (folder / "trainer/train.py").read_text() == campaign.BEST
    assert repo.resolve("autoresearch/t") == old


FILTERS = {
    "not installed": {"smudge": "no-such-program smudge", "process": "no-such-program process"},
    "locked": {"smudge": "false"},
    "hangs": {"smudge": "sleep 1000"},
    "hangs as a process": {"process": "sleep 1000"},
    "asks for a password": {"smudge": "sh -c 'read password < /dev/tty'"},
}


@pytest.mark.parametrize("of", ["README.md", "trainer/train.py"])
@pytest.mark.parametrize("how", FILTERS)
def test_filters_of_the_users_do_not_run(
    how: str, of: str, user_repo: Path, git: Git, campaign: Campaign
) -> None:
    (user_repo / ".gitattributes").write_text(f"{of} filter=my.own\n")
    git(user_repo, "add", "-A")
    git(user_repo, "commit", "--quiet", "-m", "attributes")
    for name, value in {"clean": "false", "required": "true", **FILTERS[how]}.items():
        git(user_repo, "config", f"filter.my.own.{name}", value)
    repo = Repo.open(user_repo)
    campaign.cycle(repo)
    worktree_folder = user_repo / "campaigns/t/worktree"
    assert (worktree_folder / "README.md").read_text() == "second\n"
    assert worktree.edited(repo, worktree_folder) == []
    assert worktree.uncommitted(repo) == ""


def test_without_a_worktree_the_campaign_goes_on(
    user_repo: Path, git: Git, tmp_path: Path, campaign: Campaign
) -> None:
    """A partial clone of a server that cannot be reached now has only what was checked out."""
    server, user_repo = user_repo.rename(tmp_path / "server"), tmp_path / "partial"
    git(server, "config", "uploadpack.allowFilter", "true")
    part = ("clone", "--quiet", "--filter=blob:none", "--no-checkout")
    git(tmp_path, *part, f"file://{server}", str(user_repo))
    git(user_repo, "checkout", "HEAD", "--", "trainer/train.py")
    server.rename(tmp_path / "away")

    repo = Repo.open(user_repo)
    baseline, folder = campaign.start(repo), user_repo / "campaigns/t/worktree"
    said = worktree.add(repo, "t", folder)
    assert said is not None and "the campaign goes on" in said and "\n" not in said
    assert "remote can be reached" in said
    assert str(folder) not in git(user_repo, "worktree", "list")
    old, new = advance(repo, campaign.BEST)
    assert old == baseline
    said = worktree.sync(repo, folder, new, old)
    assert said is not None and "gone" in said
    assert repo.read_file("autoresearch/t") == campaign.BEST
    with pytest.raises(RepoError, match="remote can be reached") as caught:
        repo.read_file("HEAD", "README.md")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda committed: committed, ""),
        (lambda committed: committed.replace("\n", "\r\n"), ""),  # by core.autocrlf
        (lambda committed: committed + "# mine\n", "uncommitted changes, which are not used"),
        (lambda committed: "", "uncommitted changes"),
        (lambda committed: None, ""),  # not checked out
    ],
    ids=["as committed", "other line ends", "changed", "empty", "none"],
)
def test_a_train_py_that_is_not_committed(
    content: Callable[[str], str | None], words: str, repo: Repo, campaign: Campaign
) -> None:
    path, text = repo.root / "trainer/train.py", content(campaign.FIRST)
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode())
    said = worktree.uncommitted(repo)
    assert words in said and bool(words) == (repo.head()[:12] in said)


# --- adopt


def test_adopt_merges_as_the_user(repo: Repo, git: Git, campaign: Campaign) -> None:
    _, champion = campaign.cycle(repo)
    (repo.root / "untracked.txt").write_text("in nobody's way\n")
    assert "merged" in worktree.adopt(repo, "autoresearch/t", patch=False)
    assert (repo.root / "trainer/train.py").read_text() == campaign.BEST
    merge = git(repo.root, "log", "-1", "--format=%P|%an|%cn|%s").strip()
    assert merge.split("|")[0].split()[1] == champion
    assert merge.endswith("|Ada|Ada|adopt architecture: wider (val_bpb 1.2500 ± 0.0020, -0.0123)")
    assert git(repo.root, "status", "--porcelain", "--untracked-files=no") == ""
    assert "already" in worktree.adopt(repo, champion, patch=False)


def test_adopt_into_unrelated_history(repo: Repo, git: Git, campaign: Campaign) -> None:
    campaign.cycle(repo)
    git(repo.root, "checkout", "--quiet", "--orphan", "fresh")
    git(repo.root, "commit", "--quiet", "-m", "without history")
    assert "picked" in worktree.adopt(repo, "autoresearch/t", patch=False)
    assert (repo.root / "trainer/train.py").read_text() == campaign.BEST
    assert git(repo.root, "rev-list", "--count", "HEAD").strip() == "2"


def test_adopt_as_a_patch_that_git_am_takes(
    repo: Repo, git: Git, tmp_path: Path, campaign: Campaign, snapshot: Snapshot
) -> None:
    body = "It helps.\n\n--- not the end\n\ndiff --git a/x b/x"
    base = campaign.start(repo)
    message = commit_message("c", "wider ±", 1.0, None, None, {"Trial": "1"}, body)
    kept = repo.commit_file(base, campaign.BEST, message, campaign.WHEN)
    repo.update_refs([(repo.branch("t"), kept, base)])
    before = snapshot(repo.root)
    patch = worktree.adopt(repo, kept, patch=True)
    assert snapshot(repo.root) == before
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(repo.root), str(clone))
    (tmp_path / "kept.patch").write_text(patch)
    git(clone, "apply", "--check", str(tmp_path / "kept.patch"))
    git(clone, "am", "--quiet", str(tmp_path / "kept.patch"))
    assert (clone / "trainer/train.py").read_text() == campaign.BEST
    assert (
        git(clone, "log", "-1", "--format=%an|%s").strip()
        == "autoresearch|" + (message.splitlines()[0])
    )
    assert trailers(git(clone, "log", "-1", "--format=%B")) == {"Trial": "1"}


@pytest.mark.parametrize("state", ["dirty", "staged", "detached", "merging", "nobody"])
def test_adopt_refuses_and_changes_nothing(
    state: str,
    repo: Repo,
    git: Git,
    monkeypatch: pytest.MonkeyPatch,
    campaign: Campaign,
    snapshot: Snapshot,
) -> None:
    campaign.cycle(repo)
    words = {"dirty": "uncommitted", "staged": "uncommitted", "detached": "not on a branch"}
    if state in ("dirty", "staged"):
        (repo.root / "README.md").write_text("mine\n")
        if state == "staged":
            git(repo.root, "add", "-A")
    elif state == "detached":
        git(repo.root, "checkout", "--quiet", "--detach")
    elif state == "merging":
        git(repo.root, "checkout", "--quiet", "-b", "side", "HEAD~1")
        git(repo.root, "commit", "--quiet", "--allow-empty", "-m", "side")
        git(repo.root, "merge", "--no-commit", "--no-ff", "main")
    else:
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        monkeypatch.setenv("EMAIL", "somebody@example.org")  # git would make do with it
    before = snapshot(repo.root)
    expected = words.get(state, "middle of a merge" if state == "merging" else "user.name")
    with pytest.raises(RepoError, match=expected):
        worktree.adopt(repo, "autoresearch/t", patch=False)
    assert snapshot(repo.root) == before


@pytest.mark.parametrize("stopper", ["conflict", "hook", "signature", "conflict when picked"])
def test_adopt_that_does_not_go_through_is_taken_back(
    stopper: str,
    repo: Repo,
    git: Git,
    campaign: Campaign,
    snapshot: Snapshot,
    hostile_hooks: Callable[[Path], None],
) -> None:
    campaign.cycle(repo)
    if stopper.startswith("conflict"):
        if stopper == "conflict when picked":
            git(repo.root, "checkout", "--quiet", "--orphan", "fresh")
        (repo.root / "trainer/train.py").write_text(campaign.FIRST.replace("= 0.3", "= 0.9"))
        git(repo.root, "commit", "--quiet", "-am", "by hand")
    elif stopper == "hook":
        hostile_hooks(repo.root)
        (repo.root / ".git/hooks/reference-transaction").unlink()
    else:
        git(repo.root, "config", "commit.gpgSign", "true")
        git(repo.root, "config", "gpg.program", "false")
    before = snapshot(repo.root)
    words = "conflict in trainer/train.py" if "conflict" in stopper else "did not go through"
    with pytest.raises(RepoError, match=words) as caught:
        worktree.adopt(repo, "autoresearch/t", patch=False)
    assert "the checkout is as it was" in str(caught.value)
    stopped_by_hook = (repo.root / "ran-pre-merge-commit").exists()
    assert stopped_by_hook == (stopper == "hook")
    for trace in repo.root.glob("ran-*"):
        trace.unlink()
    after = snapshot(repo.root)
    for part in ("status", "HEAD", "refs", "config", "stash", "files"):
        assert after[part] == before[part], part
    assert git(repo.root, "diff", "HEAD") == ""


def test_adopt_of_what_is_in_no_campaign(repo: Repo) -> None:
    with pytest.raises(RepoError, match="in no campaign"):
        worktree.adopt(repo, "HEAD", patch=True)
    with pytest.raises(RepoError, match="names no commit"):
        worktree.adopt(repo, "nothing", patch=False)
