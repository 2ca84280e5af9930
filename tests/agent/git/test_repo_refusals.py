"""What git, the disk or a user's own names do not allow: one clear line each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.git.command import RepoError
from agent.git.repo import Repo

ROOT = Path(__file__).parents[3]

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git

    Snapshot = Callable[[Path], dict[str, object]]


def damaged(name: str, left: int | None = None, reflog: bool = True) -> Callable[[Path], object]:
    """What a power cut or a clean-up leaves of files of git's."""

    def damage(git_dir: Path) -> None:
        for path in git_dir.glob(name):
            path.chmod(0o644)
            path.unlink() if left is None else path.write_bytes(path.read_bytes()[:left])
        if not reflog:
            shutil.rmtree(git_dir / "logs")

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        damaged("packed-refs", 0),
        damaged("packed-refs", 0, reflog=False),
        damaged("objects/pack/*.pack", 0),
        damaged("objects/pack/*.pack", 100),
        damaged("objects/pack/*.idx"),
        damaged("objects/pack/*.idx", 0, reflog=False),
        damaged("objects/pack/*"),
        lambda git_dir: (git_dir / "refs/heads/main").write_bytes(b""),
    ],
)
def test_a_damaged_repository_is_not_taken_for_a_new_one(
    damage: Callable[[Path], object], user_repo: Path, git: Git
) -> None:
    """Else the words for a new one would make its history look as if it were none."""
    git(user_repo, "gc", "--quiet")
    damage(user_repo / ".git")
    with pytest.raises(RepoError, match=r"damaged.*git fsck.*logs/HEAD") as caught:
        Repo.open(user_repo)
    assert "git add" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda git, folder: None, "not a git repository"),
        (lambda git, folder: git(folder, "init", "--quiet"), "no commit yet"),
        (lambda git, folder: git(folder, "init", "--quiet", "--bare"), "bare"),
        (lambda git, folder: folder.rmdir(), "No such file"),
    ],
)
def test_no_place_for_a_campaign(
    prepare: Callable[[Git, Path], object], words: str, git: Git, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prepare(git, folder)
    with pytest.raises(RepoError, match=words) as caught:
        Repo.open(folder)
    assert "\n" not in str(caught.value)


def test_inside_the_git_folder(user_repo: Path) -> None:
    with pytest.raises(RepoError, match="work tree"):
        Repo.open(user_repo / ".git")


def test_no_git_on_path(user_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(RepoError, match="no git on PATH"):
        Repo.open(user_repo)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.17.1", False), ("2.26.9", False), ("1.9", False), ("2.27.0", True), ("3.0.GIT", True)],
)
def test_a_git_that_is_too_old_is_told_its_version(
    version: str, fits: bool, user_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = shutil.which("git"), tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(
        "#!/bin/sh\n"
        f'case "$*" in *version) echo "git version {version}";; *) exec "{real}" "$@";; esac\n'
    )
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    if fits:
        assert Repo.open(user_repo).root == user_repo
        return
    with pytest.raises(RepoError, match=rf"{version} is too old: a campaign needs git 2\.27"):
        Repo.open(user_repo)


@pytest.mark.parametrize(
    "stored",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", b"\0GITCRYPT\0\xe9"],
)
def test_a_train_py_that_a_filter_stores(stored: bytes, user_repo: Path, git: Git) -> None:
    (user_repo / "trainer/train.py").write_bytes(stored)
    git(user_repo, "commit", "-q", "-am", "as a filter makes it")
    with pytest.raises(RepoError, match=r"a filter made of it.*\.gitattributes"):
        Repo.open(user_repo).read_file("HEAD")


@pytest.mark.parametrize("ignored", [False, True], ids=["untracked", "ignored"])
def test_a_train_py_that_was_never_committed(ignored: bool, user_repo: Path, git: Git) -> None:
    git(user_repo, "rm", "-q", "--cached", "trainer/train.py")
    if ignored:
        (user_repo / ".gitignore").write_text("campaigns/\ntrain.py\n")
    git(user_repo, "commit", "-q", "-m", "without")
    with pytest.raises(RepoError, match=r"git add -f trainer/train\.py && git commit"):
        Repo.open(user_repo).read_file("HEAD")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("status", 2, "error: there is no git on PATH"),
        ("doctor", 1, "FAIL"),
        ("--help", 0, "adopt"),
    ],
)
@pytest.mark.process
def test_no_git_on_path_from_the_start(
    command: str, code: int, said: str, user_repo: Path, tmp_path: Path
) -> None:
    """GitPython looks for git when it is imported."""
    environ = {**os.environ, "PATH": str(tmp_path / "empty"), "PYTHONPATH": str(ROOT)}
    environ |= {"GIT_PYTHON_GIT_EXECUTABLE": "/nowhere", "GIT_PYTHON_REFRESH": "raise"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "agent", command],
        cwd=user_repo, env=environ, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code
    assert said in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_repository_of_somebody_else(user_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Git's own switch for its tests of the ownership check; ours must let git's advice through.
    monkeypatch.setattr("agent.git.command._KEPT_VARIABLES", ("GIT_CONFIG_", "GIT_TEST_"))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(RepoError, match=r"safe\.directory"):
        Repo.open(user_repo)


@pytest.mark.parametrize(
    "tag",
    ["", "a b", "a..b", "x.lock", ".", "..", "a/b", "a~1", "a\nb", "a\0b", "\udc80", "n" * 101],
)
def test_tag_that_git_or_the_disk_refuses(tag: str, repo: Repo) -> None:
    with pytest.raises(RepoError, match="--tag"):
        repo.check_tag(tag)


def test_branch_of_somebody_else(repo: Repo, git: Git, campaign: Campaign) -> None:
    repo.check_tag("t")
    git(repo.root, "branch", "autoresearch/t")
    with pytest.raises(RepoError, match="branch autoresearch/t is in the way"):
        repo.check_tag("t", new=True)
    repo.check_tag("t")  # of a campaign that resumes: its commits are kept, see test_recovery
    git(repo.root, "branch", "-m", "autoresearch/t", "autoresearch/u/v")
    with pytest.raises(RepoError, match="in the way"):
        repo.check_tag("u")
    git(repo.root, "branch", "-m", "autoresearch/u/v", "autoresearch")
    with pytest.raises(RepoError, match="in the way"):
        repo.check_tag("t")
    git(repo.root, "branch", "-D", "autoresearch")
    campaign.start(repo)
    repo.check_tag("t")
    with pytest.raises(RepoError, match="earlier campaign"):
        repo.check_tag("t", new=True)
    repo.check_tag("u", new=True)


@pytest.mark.parametrize("rev", ["nothing", "-x", "", "a\nb", "HEAD:README.md", "HEAD~9", "\udc80"])
def test_unknown_revision(rev: str, repo: Repo) -> None:
    with pytest.raises(RepoError, match="names no commit"):
        repo.commit_for(rev)


def test_revisions(repo: Repo, git: Git, campaign: Campaign) -> None:
    baseline, champion = campaign.cycle(repo)
    git(repo.root, "tag", "-a", "-m", "annotated", "v1", champion)
    for rev in (champion, champion[:10], "autoresearch/t", "v1", "refs/autoresearch/t/trials/1"):
        assert repo.commit_for(rev).sha == champion
    assert repo.commit_for("autoresearch/t~1").sha == baseline
    root = repo.commit_for("HEAD~1")
    assert root.parent is None and root.message == "first\n"


def test_files_that_cannot_be_read_or_changed(
    user_repo: Path, git: Git, campaign: Campaign
) -> None:
    (user_repo / "latin.py").write_bytes(b"\xe9")
    (user_repo / "link.py").symlink_to("README.md")
    git(user_repo, "add", "-A")
    git(user_repo, "commit", "--quiet", "-m", "odd files")
    repo = Repo.open(user_repo)
    with pytest.raises(RepoError, match=r"no file trainer/none\.py"):
        repo.read_file("HEAD", "trainer/none.py")
    with pytest.raises(RepoError, match="not UTF-8"):
        repo.read_file("HEAD", "latin.py")
    for path in ("link.py", "trainer", "trainer/none.py", "README.md/x"):
        with pytest.raises(RepoError, match="no regular file"):
            repo.commit_file("HEAD", "x", "m\n", campaign.WHEN, path)
    with pytest.raises(RepoError, match="UTF-8"):
        repo.commit_file("HEAD", "\udc80", "m\n", campaign.WHEN)
    with pytest.raises(RepoError, match="hold a NUL"):
        repo.commit_file("HEAD", "x", "NUL \0 here\n", campaign.WHEN)
