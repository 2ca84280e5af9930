"""Git as the campaign uses it, on real repositories in all the states a user leaves them in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.git.command import RepoError
from agent.git.repo import Repo, changed_lines

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git

    Snapshot = Callable[[Path], dict[str, object]]


def dirty(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "trainer/train.py").write_text("mine\n")
    (root / "new.txt").write_text("untracked\n")


def staged(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "trainer/train.py").write_text("staged\n")
    git(root, "add", "-A")
    (root / "trainer/train.py").write_text("and changed again\n")


def detached(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "checkout", "--quiet", "--detach", "HEAD~1")


def rebasing(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (root / "README.md").write_text("conflicting\n")
    git(root, "commit", "--quiet", "-am", "side")
    git(root, "rebase", "main", ok=False)
    assert "rebase in progress" in git(root, "status")


def stash(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "README.md").write_text("stashed\n")
    git(root, "stash")


def signing(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "commit.gpgSign": "true",
        "gpg.program": "false",
        "log.showSignature": "true",
        "user.useConfigOnly": "true",
    }.items():
        git(root, "config", name, value)


def settings_that_change_bytes(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "core.autocrlf": "true",
        "core.commentChar": "T",
        "i18n.commitEncoding": "ISO-8859-1",
        "i18n.logOutputEncoding": "UTF-16",
        "trailer.separators": "=",
        "diff.noprefix": "true",
        "diff.external": "false",
        "color.ui": "always",
        "core.editor": "false",
        "notes.displayRef": "refs/notes/*",
    }.items():
        git(root, "config", name, value)


def environment(root: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_INDEX_FILE": str(root / ".git/index"),
        "GIT_AUTHOR_DATE": "2001-01-01T00:00:00",
        "GIT_COMMITTER_NAME": "Mallory",
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "GIT_NOTES_REF": "refs/notes/other",
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_TRACE": "2",
        "GIT_EDITOR": "false",
        "LANGUAGE": "de",
    }.items():
        monkeypatch.setenv(name, value)


STATES = (
    dirty,
    staged,
    detached,
    rebasing,
    stash,
    signing,
    settings_that_change_bytes,
    environment,
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_campaign_leaves_the_checkout_alone_and_commits_the_same_bytes(
    state: Callable[[Path, Git, pytest.MonkeyPatch], None],
    user_repo: Path,
    git: Git,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    campaign: Campaign,
    snapshot: Snapshot,
) -> None:
    git(user_repo, "config", "core.logAllRefUpdates", "always")
    twin = tmp_path / "twin"
    git(tmp_path, "clone", "--quiet", str(user_repo), str(twin))
    state(user_repo, git, monkeypatch)
    git(twin, "fetch", "--quiet", str(user_repo), "HEAD")
    git(twin, "checkout", "--quiet", "FETCH_HEAD")
    before = snapshot(user_repo)
    made = campaign.cycle(Repo.open(user_repo / "trainer"))
    assert snapshot(user_repo) == before
    assert not list(user_repo.rglob("ran-*"))
    # A quiet clone of the same commit gives the same hashes: no setting reached the bytes.
    assert made == campaign.cycle(Repo.open(twin))


def test_no_hook_runs(
    repo: Repo,
    git: Git,
    campaign: Campaign,
    snapshot: Snapshot,
    hostile_hooks: Callable[[Path], None],
) -> None:
    hostile_hooks(repo.root)
    before = snapshot(repo.root)
    git(repo.root, "config", "core.fsmonitor", f'"{repo.root}/.git/hooks/fsmonitor-watchman"')
    campaign.cycle(repo)
    assert not list(repo.root.rglob("ran-*"))
    git(repo.root, "config", "--unset", "core.fsmonitor")
    assert snapshot(repo.root) == before | {"config": (repo.root / ".git/config").read_bytes()}


def test_the_checks_above_can_fail(
    user_repo: Path, git: Git, snapshot: Snapshot, hostile_hooks: Callable[[Path], None]
) -> None:
    hostile_hooks(user_repo)
    before = snapshot(user_repo)
    git(user_repo, "commit", "--allow-empty", "-m", "by hand", ok=False)
    assert list(user_repo.rglob("ran-*"))
    assert snapshot(user_repo) != before


def test_a_look_does_not_refresh_the_users_index(repo: Repo, git: Git) -> None:
    index = repo.root / ".git/index"
    before = index.read_bytes()
    os.utime(repo.root / "README.md", (1, 1))
    repo.git("status")
    assert index.read_bytes() == before
    git(repo.root, "status")
    assert index.read_bytes() != before


def test_commits_are_the_campaigns_own(repo: Repo, git: Git, campaign: Campaign) -> None:
    baseline, champion = campaign.cycle(repo)
    shown = git(repo.root, "log", "-1", "--format=%an %ae %cn %ce %at %ct %G?", champion).split()
    assert shown[:4] == ["autoresearch", "autoresearch@localhost"] * 2
    assert shown[4:] == ["1700000060", "1700000060", "N"]
    names = git(repo.root, "diff", "--name-only", "main", "autoresearch/t").split()
    assert names == ["trainer/train.py"]
    log = git(repo.root, "log", "--format=%H", "main..autoresearch/t").split()
    assert log == [champion, baseline]
    # "autoresearch/t" is a folder of refs, too; git must not find it ambiguous.
    done = subprocess.run(
        ["git", "log", "-1", "autoresearch/t"], cwd=repo.root, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert git(repo.root, "fsck", "--strict", "--no-dangling") == ""


def test_recommit_shares_tree_parent_and_date(repo: Repo, campaign: Campaign) -> None:
    candidate = repo.commit_for(
        repo.commit_file(repo.head(), campaign.BEST, "draft\n", campaign.WHEN)
    )
    final = repo.commit_for(repo.recommit(candidate.sha, "final\n"))
    assert final.sha != candidate.sha and final.message == "final\n"
    assert (final.tree, final.parent, final.time) == (
        candidate.tree,
        candidate.parent,
        candidate.time,
    )
    assert final.time == int(campaign.WHEN) and final.parent == repo.head()


def test_line_ends_mode_and_text_are_kept(user_repo: Path, git: Git, campaign: Campaign) -> None:
    train = user_repo / "trainer/train.py"
    train.write_bytes(b"A = 1\r\nB = '\xc2\xb1'\n# no line feed at the end")
    train.chmod(0o755)
    (user_repo / ".gitattributes").write_text("*.py text eol=crlf -diff ident\n")
    git(user_repo, "-c", "core.autocrlf=false", "add", ".gitattributes")
    blob = git(user_repo, "hash-object", "-w", "--no-filters", "trainer/train.py").strip()
    git(user_repo, "update-index", "--cacheinfo", f"100755,{blob},trainer/train.py")
    git(user_repo, "commit", "--quiet", "-m", "odd")
    repo = Repo.open(user_repo)
    text = repo.read_file("HEAD")
    assert text.encode() == train.read_bytes()
    sha = repo.commit_file("HEAD", text + "\r\n", "m\n", campaign.WHEN)
    assert repo.read_file(sha) == text + "\r\n"
    assert git(user_repo, "ls-tree", sha, "trainer/train.py").startswith("100755")
    assert "+# no line feed" in repo.diff("HEAD", sha)
    assert changed_lines(repo.diff("HEAD", sha)) == (1, 1)


def test_same_content_commits_an_empty_change(repo: Repo, campaign: Campaign) -> None:
    sha = repo.commit_file("HEAD", campaign.FIRST, "baseline: as given\n", campaign.WHEN)
    assert repo.commit_for(sha).tree == repo.commit_for("HEAD").tree
    assert repo.diff("HEAD", sha) == "" and changed_lines("") == (0, 0)


def test_refs_move_together_or_not_at_all(repo: Repo, git: Git, campaign: Campaign) -> None:
    base = repo.head()
    first = campaign.start(repo)
    other = repo.commit_file(first, campaign.BEST, "other\n", campaign.WHEN)
    before = git(repo.root, "for-each-ref")
    with pytest.raises(RepoError, match="expected"):
        repo.update_refs([(repo.trial_ref("t", 1), other, None), (repo.branch("t"), other, base)])
    with pytest.raises(RepoError, match="already exists"):
        repo.update_refs([(repo.trial_ref("t", 0), other, None)])
    assert git(repo.root, "for-each-ref") == before


def test_a_ref_change_can_be_done_again_after_it_was_cut_off(
    repo: Repo, campaign: Campaign
) -> None:
    base, first = repo.head(), campaign.start(repo)
    changes = [(repo.trial_ref("t", 0), first, None), (repo.branch("t"), first, base)]
    repo.update_refs(changes)
    assert repo.resolve(repo.branch("t")) == first


def test_a_held_ref_lock_is_one_clear_line(repo: Repo, campaign: Campaign) -> None:
    first = campaign.start(repo)
    lock = repo.root / ".git/refs/heads/autoresearch/t.lock"
    lock.write_text("")
    with pytest.raises(RepoError, match=r"t\.lock") as caught:
        repo.update_refs([(repo.branch("t"), repo.head(), first)])
    assert "\n" not in str(caught.value)
    assert repo.resolve(repo.branch("t")) == first


def test_two_campaigns_in_one_repository(
    repo: Repo, git: Git, campaign: Campaign, snapshot: Snapshot
) -> None:
    before = snapshot(repo.root)
    assert campaign.cycle(repo, "a") == campaign.cycle(repo, 'b"ü')
    other = repo.commit_file("autoresearch/a", campaign.FIRST, "m\n", campaign.WHEN)
    repo.update_refs([(repo.branch("a"), other, repo.resolve("autoresearch/a"))])
    assert repo.resolve("autoresearch/a") != repo.resolve('autoresearch/b"ü')
    assert repo.read_note("a", other) is None
    assert snapshot(repo.root) == before


def test_notes_replace_and_are_per_campaign(repo: Repo, git: Git, campaign: Campaign) -> None:
    sha = campaign.start(repo)
    repo.add_note("t", sha, "one")
    repo.add_note("t", sha, "two")
    assert repo.read_note("t", sha) == "two"
    assert repo.read_note("other", sha) is None
    assert git(repo.root, "notes", "--ref=autoresearch/t", "show", sha) == "two"
    assert git(repo.root, "log", "-1", "--format=%ae %ct", "refs/notes/autoresearch/t").split() == [
        "autoresearch@localhost",
        "1700000000",
    ]


# --- where a campaign may start, and how it is told that it may not


def test_submodule_linked_worktree_and_sha256(
    user_repo: Path, git: Git, tmp_path: Path, campaign: Campaign, snapshot: Snapshot
) -> None:
    outer = tmp_path / "outer"
    git(tmp_path, "init", "--quiet", str(outer))
    git(outer, "submodule", "--quiet", "add", str(user_repo), "inner")
    git(outer, "commit", "--quiet", "-m", "with a submodule")
    before = snapshot(outer)
    inner = Repo.open(outer / "inner/trainer")
    assert inner.root == outer / "inner"
    campaign.cycle(inner)
    assert snapshot(outer) == before

    linked = tmp_path / "linked"
    git(user_repo, "worktree", "add", "--quiet", "-b", "side", str(linked))
    campaign.cycle(Repo.open(linked))
    assert Repo.open(linked).root == linked

    long = tmp_path / "sha256"
    shutil.copytree(user_repo, long, ignore=shutil.ignore_patterns(".git", "campaigns"))
    git(long, "init", "--quiet", "--object-format=sha256")
    git(long, "add", "-A")
    git(long, "commit", "--quiet", "-m", "first")
    assert len(campaign.cycle(Repo.open(long))[1]) == 64


def test_a_work_tree_below_the_folder_of_git(tmp_path: Path, git: Git, campaign: Campaign) -> None:
    root, tree = tmp_path / "root", tmp_path / "root/tree"
    (tree / "trainer").mkdir(parents=True)
    (tree / "trainer/train.py").write_text(campaign.FIRST)
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "config", "core.worktree", str(tree))
    git(tree, "add", "-A")
    git(tree, "commit", "--quiet", "-m", "first")
    repo = Repo.open(tree)
    assert repo.root == tree and repo.git_dir == repo.common_dir == root / ".git"
    assert repo.read_file("HEAD") == campaign.FIRST


def test_refs_by_name_are_found_loose_packed_and_odd(repo: Repo) -> None:
    """As git lists them, without a look at the others."""
    head = repo.head()
    names = [f"refs/autoresearch/t/trials/{n}" for n in range(4)]
    repo.update_refs([(name, head, None) for name in names[:2]])
    repo.git("pack-refs", "--all")
    repo.update_refs([(names[2], head, None)])
    repo.git("symbolic-ref", "refs/autoresearch/t/odd", names[0])
    (repo.common_dir / "refs/autoresearch/t/damaged").write_bytes(b"\0" * 41)
    wanted = [*names, "refs/autoresearch/t/odd", "refs/autoresearch/t/damaged"]
    found = repo.named(*wanted)
    assert found == dict.fromkeys([*names[:3], "refs/autoresearch/t/odd"], head)
    assert found == {ref: at for ref, at in repo.refs(*wanted).items() if ref in wanted}
    assert repo.named("refs/autoresearch/t/trials") == {}  # a folder
