"""Git's objects as this writes them: the same bytes as git's own commands, in any repository."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.git import objects
from agent.git.objects import Object, entries_of, tree_of
from agent.git.repo import Repo

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git


@pytest.fixture(params=["sha1", "sha256"])
def either(request: pytest.FixtureRequest, user_repo: Path, tmp_path: Path, git: Git) -> Repo:
    if request.param == "sha1":
        return Repo.open(user_repo)
    long = tmp_path / "long"
    shutil.copytree(user_repo, long, ignore=shutil.ignore_patterns(".git", "campaigns"))
    git(long, "init", "--quiet", "--object-format=sha256")
    git(long, "add", "-A")
    git(long, "commit", "--quiet", "-m", "first")
    return Repo.open(long)


@pytest.mark.parametrize("size", [0, 15, 16, 2047, 2048, 300_000])
def test_any_size_goes_through_a_pack(either: Repo, size: int) -> None:
    data = random.Random(size).randbytes(size)
    sha = either._write([Object("blob", data), Object("blob", b"last")], either.head())
    assert either.git("cat-file", "blob", sha) == b"last"
    named = Object("blob", data).name(sha)
    assert either.git("cat-file", "blob", named) == data
    assert either.git("hash-object", "--stdin", stdin=data).decode().strip() == named


def test_a_commit_has_the_bytes_that_git_gives_it(either: Repo, campaign: Campaign) -> None:
    when, message = int(campaign.WHEN), "a subject ± 1\n\nA body.\n\nTrial: 1\n"
    made = either.commit_file("HEAD", campaign.BEST, message, when)
    blob = either.git("hash-object", "-w", "--stdin", stdin=campaign.BEST.encode()).decode().strip()
    inner = either.git("ls-tree", "-z", "HEAD", "trainer/").split(b"\0")
    inner = [line.replace(b"trainer/", b"") for line in inner if line]
    other = [line for line in inner if not line.endswith(b"\ttrain.py")]
    tree = either.git(
        "mktree", "-z", stdin=b"\0".join([*other, f"100644 blob {blob}\ttrain.py".encode()])
    )
    top = [line for line in either.git("ls-tree", "-z", "HEAD").split(b"\0") if line]
    top = [line for line in top if not line.endswith(b"\ttrainer")]
    top.append(b"040000 tree %b\ttrainer" % tree.strip())
    root = either.git("mktree", "-z", stdin=b"\0".join(top)).decode().strip()
    args = ("commit-tree", "-p", either.head(), "-F", "-", root)
    assert either.git(*args, stdin=message.encode(), dates=when).decode().strip() == made


def test_a_tree_keeps_its_order_and_modes() -> None:
    """A folder stands where its name and a slash would."""
    names = [(b"a-b", b"100644"), (b"a", b"40000"), (b"a.py", b"100755"), (b"a0", b"120000")]
    tree = tree_of({name: (mode, bytes(20)) for name, mode in names})
    assert [*entries_of(tree.content, "0" * 40)] == [b"a-b", b"a.py", b"a", b"a0"]
    padded = tree.content.replace(b"40000 a\0", b"040000 a\0")
    assert tree_of(entries_of(padded, "0" * 40)) == tree


def test_thousands_of_notes_stand_in_folders_and_are_gits_own(
    either: Repo, git: Git, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MOST_NOTES", 3)
    base, root = either.head(), either.root
    commits = [either.recommit(base, f"number {n}\n") for n in range(12)]
    for n, commit in enumerate(commits):
        either.add_note("t", commit, f"note {n}")
    assert either.git("ls-tree", either.notes_ref("t")).count(b" tree ") > 2
    assert len(git(root, "notes", "--ref=autoresearch/t", "list").splitlines()) == 12
    git(root, "notes", "--ref=autoresearch/t", "add", "-m", "by hand", base)
    either.add_note("t", commits[0], "another")  # of those that came before the folders
    either.add_note("t", commits[11], "one more")
    ref, names = either.notes_ref("t"), [*commits, base]
    listed = git(root, "notes", f"--ref={ref}", "list").split()[1::2]
    assert sorted(listed) == sorted(names) and either.noted("t") == {*names}
    told = [either.read_note("t", commit) for commit in names]
    assert told == ["another", *(f"note {n}" for n in range(1, 11)), "one more", "by hand\n"]
    assert git(root, "fsck", "--strict", "--no-dangling") == ""


def test_a_repository_that_many_share_keeps_its_permissions(
    either: Repo, campaign: Campaign, git: Git
) -> None:
    """Git writes the files, so that they are as it makes them."""
    git(either.root, "config", "core.sharedRepository", "0640")
    sha = either.commit_file("HEAD", campaign.BEST, "m\n", campaign.WHEN)
    path = either.common_dir / "objects" / sha[:2] / sha[2:]
    assert path.stat().st_mode & 0o777 == 0o440


def test_what_the_pack_loses_on_the_way_is_not_written(either: Repo) -> None:
    sent = objects.pack([Object("blob", b"text")], either.head())
    done = subprocess.run(["git", "unpack-objects", "-q"], cwd=either.root, input=sent[:-1] + b"\1")
    assert done.returncode != 0
