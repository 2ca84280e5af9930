"""What clean-ups, power cuts and people do to a campaign in git."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from project import git

from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.steps.runtime import Runtime

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
    if worktree.exists():
        git(home, "worktree", "remove", "--force", str(worktree))
    delete_all(home, worktree)
    git(home, *AT_ONCE, "--prune=now")
    with pytest.raises(Exception, match="exit status"):
        git(home, "cat-file", "-e", tip)


def empty_refs(home: Path, worktree: Path) -> None:
    """What file systems leave of a file that was written just before a power cut."""
    (home / ".git/refs/heads/autoresearch/t").write_bytes(b"")
    (home / ".git/refs/autoresearch/t/trials/3").write_bytes(bytes(41))


def damaged(name: str, how: str) -> Damage:
    """A power cut leaves a file empty, short, or full of zeros; a clean-up may take it."""

    def damage(home: Path, worktree: Path) -> None:
        sha = git(home, "rev-parse", name) if name else of_the_note(home)
        path = home / ".git/objects" / sha[:2] / sha[2:]
        path.chmod(0o644)
        left = {"emptied": b"", "cut": path.read_bytes()[:-20], "zeroed": bytes(5000)}
        path.unlink() if how == "gone" else path.write_bytes(left[how])

    return damage


SECOND, CHAMPION = "refs/autoresearch/t/trials/2", "refs/autoresearch/t/trials/3"
NOTES = "refs/notes/autoresearch/t"
OBJECTS = {"commit": "", "tree": "^{tree}", "folder": ":trainer", "blob": ":trainer/train.py"}
BROKEN = {
    "empty": b"",
    "cut": b"0123456789abcdef",
    "garbage": b"\xff\x01 no hash\n",
    "of no commit": b"1" * 40 + b"\n",
    "a link to none": b"ref: refs/heads/none\n",
}
LEFT = ("gone", "emptied", "cut", "zeroed")


def of_the_note(home: Path) -> str:
    return git(home, "notes", f"--ref={NOTES}", "list", CHAMPION)


def lock(*names: str) -> Damage:
    """What a kill leaves of a git that was writing; and a need to write there."""

    def damage(home: Path, worktree: Path) -> None:
        delete_all(home, worktree)
        for name in names:
            (home / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
            (home / ".git" / name).touch()

    return damage


def holds(name: str, content: bytes) -> Damage:
    return lambda home, worktree: (home / ".git" / name).write_bytes(content)


def empty(name: str) -> Damage:
    return holds(name, b"")


def empty_another(home: Path, worktree: Path) -> None:
    """A worktree of the user's, without which git lists none."""
    git(home, "worktree", "add", "-q", "--detach", str(home / "campaigns/other"))
    empty("worktrees/other/commondir")(home, worktree)


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
    **{
        f"{name} {how}": (damaged(CHAMPION + OBJECTS[name], how), "1 of the campaign's commits")
        for name in OBJECTS
        for how in LEFT
    },
    **{
        f"notes' {name} {how}": (damaged(NOTES + of, how), "")
        for name, of in (("commit", ""), ("tree", "^{tree}"))
        for how in LEFT
    },
    **{f"a note {how}": (damaged("", how), "") for how in ("gone", "emptied", "zeroed")},
    **{
        f"{ref} is {what}": (holds(ref, content), "" if ref == NOTES else "put back: 1")
        for ref in ("refs/heads/autoresearch/t", "refs/autoresearch/t/base", SECOND, NOTES)
        for what, content in BROKEN.items()
    },
    "worktree's index": (empty("worktrees/worktree/index"), ""),
    "worktree's HEAD": (empty("worktrees/worktree/HEAD"), ""),
    "worktree's commondir": (empty("worktrees/worktree/commondir"), ""),
    "worktree's gitdir": (empty("worktrees/worktree/gitdir"), ""),
    "another worktree's commondir": (empty_another, ""),
    "lock of the branch": (lock("refs/heads/autoresearch/t.lock"), "t.lock"),
    "lock of a trial": (lock("refs/autoresearch/t/trials/3.lock"), "3.lock"),
    "lock of the notes": (lock("refs/notes/autoresearch/t.lock"), "t.lock"),
    "lock of the worktree": (
        lock("worktrees/worktree/index.lock", "worktrees/worktree/HEAD.lock"),
        "index.lock",
    ),
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
