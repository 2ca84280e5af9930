"""Working trees: the campaign's own, for viewing, and, only on request, the user's checkout.

The campaign's worktree shows the branch's files. Nothing is measured from it, so a change that the
user makes there is kept and reported, not undone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import git
import psutil

from agent.git.command import RepoError, complaint, run_git
from agent.git.repo import DIFF, TRAIN_FILE, Repo

_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}


def add(repo: Repo, tag: str, folder: Path, olds: Sequence[str] = ()) -> str | None:
    """Make the worktree of ``autoresearch/<tag>`` at ``folder``, or bring the existing one there.

    Args:
        olds: commits that its files may still be of, because the agent was killed between the
            branch's last move and ``sync``, or because the branch was moved by hand.

    Returns:
        A line to show if there is no such worktree, if something else at ``folder`` was moved away,
        or if the files there are not those of the branch; else None.
    """
    branch, place = repo.branch(tag), folder.resolve()
    short = branch.removeprefix("refs/heads/")
    try:
        _repair(repo, place)
        ours = listed(repo).get(place, {})
        if _is_live(repo, place) and ours.get("locked") != "initializing":  # its making was cut off
            if run_git("symbolic-ref", "-q", "HEAD", cwd=place).stdout.strip() != branch.encode():
                return f"{place} is not on {short}, and left alone: git -C {place} switch {short}"
            tip = repo.commit_for(branch)
            return sync(repo, place, tip.sha, *olds, tip.parent or tip.sha, tip.sha)
        said = _move_aside(place)
        # -f twice: replaces a registration whose folder is missing, even if it is locked.
        make = ("worktree", "add", "--quiet", "-f", "-f", str(place), short)
        done = run_git(*make, cwd=repo.root, config=_without_filters(repo))
    except (RepoError, OSError) as error:
        return f"{place} cannot show the branch's files ({error}); the campaign goes on without it"
    if done.returncode != 0:
        why = complaint(done)
        said = f"{place} cannot be made ({why}); the campaign goes on, it was only to look at"
    return said


def refuse_if_checked_out(repo: Repo, tag: str, folder: Path) -> None:
    """Refuse to go on while the user has the campaign's branch checked out.

    Raises:
        RepoError: it is, in another place than ``folder``; moving it would disturb the user.
    """
    branch, place = repo.branch(tag), folder.resolve()
    for path, tree in listed(repo).items():
        if tree.get("branch") == branch and path != place and _is_live(repo, path):
            raise RepoError(
                f"{branch.removeprefix('refs/heads/')} is checked out in {path}, and it is the "
                f"campaign's to move: git -C {path} switch OTHER-BRANCH, then again"
            )


def harvest_ref(tag: str, name: str = "") -> str:
    """The branch of a kept change; git lets none be below the campaign's own."""
    return f"refs/heads/autoresearch-harvest/{tag}/{name}"


def checked_out(repo: Repo) -> dict[str, Path]:
    """Where each branch is checked out that is."""
    trees = listed(repo).items()
    return {tree["branch"]: p for p, tree in trees if "branch" in tree and _is_live(repo, p)}


def remove_locks(repo: Repo, tag: str, folder: Path) -> list[Path]:
    """Remove what killed gits left locked of a campaign's refs and worktree; none while a git is
    seen at work in this repository."""
    infos = (p.info for p in psutil.process_iter(["name", "cwd", "cmdline"]))
    for one in (info for info in infos if info["name"] == "git"):
        if "cat-file" in (one["cmdline"] or ()):  # of another campaign: it locks nothing
            continue
        if any(str(repo.root) in part for part in (one["cwd"] or "", *(one["cmdline"] or ()))):
            return []
    found = [repo.common_dir / f"{ref(tag)}.lock" for ref in (repo.branch, repo.notes_ref)]
    found += (repo.common_dir / repo.folder(tag)).rglob("*.lock")
    done = run_git("rev-parse", "--absolute-git-dir", cwd=folder)
    own = Path(os.fsdecode(done.stdout.removesuffix(b"\n")))
    if own.parent == repo.common_dir / "worktrees":
        found += own.glob("*.lock")
    locks = [path for path in found if path.is_file()]
    for path in locks:
        path.unlink()
    return locks


def registered(repo: Repo, tag: str, folder: Path) -> list[Path]:
    """Where git has a worktree of the campaign: at ``folder``, and where it was until it moved."""
    branch, place = repo.branch(tag), folder.resolve()
    return [
        path
        for path, tree in listed(repo).items()
        if path == place or (tree.get("branch") == branch and not path.exists())
    ]


def edited(repo: Repo, folder: Path) -> list[str]:
    """Files in the worktree that are not as they are committed."""
    if not _is_live(repo, folder):
        return []
    status = ("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules")
    done = run_git(*status, cwd=folder, config=_without_filters(repo))
    return [line[3:] for line in os.fsdecode(done.stdout).split("\0") if line]


def sync(repo: Repo, folder: Path, new: str, *olds: str) -> str | None:
    """Update files and index to ``new``, where the branch is now, from one of ``olds``.

    A file that the user edited stays as it is; git then shows it as changed against ``new``.

    Returns:
        A line to show if the files are not those of ``new``, else None.
    """
    if not _is_live(repo, folder):
        return f"{folder} is gone or no worktree of this repository; it is made again at next start"
    tip = run_git("rev-parse", "--verify", "HEAD", cwd=folder)
    if tip.stdout.decode().strip() != new:
        return f"{folder} is no longer on the campaign's branch; its files were left alone"
    config, said = _without_filters(repo), None
    run_git("update-index", "-q", "--refresh", cwd=folder, config=config)
    for old in olds:  # git refuses if a file is neither of old nor of new, and changes nothing
        done = run_git("read-tree", "-m", "-u", old, new, cwd=folder, config=config)
        if done.returncode == 0:
            break
    else:
        done = run_git("read-tree", new, cwd=folder)
        if done.returncode != 0:
            return f"{folder} could not be brought up to date: {complaint(done)}"
        said = (
            f"{folder} has edits of yours, which were kept; see: git -C {folder} diff; "
            f"to drop them: git -C {folder} checkout -- {TRAIN_FILE}"
        )
    is_new = run_git("diff-files", "--quiet", "--", TRAIN_FILE, cwd=folder, config=config)
    if is_new.returncode != 0 and _is_of_the_branch(repo, folder, new):
        said = None
        run_git("checkout-index", "-q", "-f", "-u", "--", TRAIN_FILE, cwd=folder, config=config)
    return said


def _is_of_the_branch(repo: Repo, folder: Path, new: str) -> bool:
    """Whether train.py is one that the branch has had, or was cut off while git wrote it: a git
    that was killed leaves that, and it is no edit of the user's."""
    try:
        own = (folder / TRAIN_FILE).read_bytes()
    except OSError:
        return False
    past = repo.git("rev-list", "--first-parent", "--objects", new, "--", TRAIN_FILE).split(b"\n")
    known = {line.split()[0].decode() for line in past if line.endswith(TRAIN_FILE.encode())}
    named = run_git("hash-object", "--stdin", "--no-filters", cwd=folder, stdin=own)
    return named.stdout.decode().strip() in known or repo.read_file(new).encode().startswith(own)


def uncommitted(repo: Repo) -> str:
    """A line to show if the checkout has another train.py than its commit, "" if not.

    The bytes are compared, because git's own answer needs the user's filters, which may hang.
    """
    try:
        own = (repo.root / TRAIN_FILE).read_bytes()
    except OSError:  # a sparse checkout, for example
        return ""
    head = repo.head()
    if own.splitlines() == repo.read_file(head).encode().splitlines():  # git may change line ends
        return ""
    return (
        f"{TRAIN_FILE} has uncommitted changes, which are not used: the campaign starts from the "
        f"committed one ({head[:12]})"
    )


def adopt(repo: Repo, commit: str, *, patch: bool) -> str:
    """Bring a kept commit to the user's branch, or return it as a patch for ``git am``.

    The merge uses the user's identity, hooks and signing. If the branch shares no history with the
    campaign, the change since the campaign's base is cherry-picked instead. A merge that fails is
    aborted.

    Returns:
        With ``patch`` the patch, else one line that says what was done.

    Raises:
        RepoError: the checkout is not clean, not on a branch or in an unfinished operation; no
            identity is configured; a conflict, a hook or a signature stopped the merge.
    """
    kept = repo.commit_for(commit)
    sha = kept.sha
    if patch:
        form = ("--pretty=email", "--stat", "-p", _squashed(repo, sha), "--", TRAIN_FILE)
        return repo.git(*DIFF, *form).decode("utf-8", "replace")
    branch = _ready_branch(repo)
    shared = run_git("merge-base", "HEAD", sha, cwd=repo.root)
    if shared.stdout.decode().strip() == sha:
        return f"{branch} has {sha[:12]} already"
    words, args = "merged", ["merge", "--no-ff", "-m", f"adopt {kept.message.splitlines()[0]}", sha]
    if shared.returncode != 0:
        words, args = "picked", ["cherry-pick", _squashed(repo, sha)]
    before = repo.head()
    try:
        done = run_git(*args, cwd=repo.root, as_user=True)
        conflicts = run_git("diff", "--name-only", "--diff-filter=U", cwd=repo.root).stdout
    finally:
        if _operation(repo) is not None:
            run_git(args[0], "--abort", cwd=repo.root, as_user=True)
    if done.returncode == 0:
        return f"{words} {sha[:12]} into {branch} as {repo.head()[:12]}"
    why = complaint(done)
    if conflicts:
        why = f"conflict in {', '.join(conflicts.decode('utf-8', 'replace').split())}"
    state = "the checkout is as it was" if repo.head() == before else "see: git status"
    raise RepoError(
        f"git {args[0]} of {sha[:12]} into {branch} did not go through: {why}; {state}; "
        f"merge it by hand with: git merge {sha[:12]}, or take the patch with --patch"
    )


def listed(repo: Repo) -> dict[Path, dict[str, str]]:
    """What git knows of each registered worktree, by its path; of none where one is damaged."""
    done = run_git("worktree", "list", "--porcelain", cwd=repo.root)
    out = os.fsdecode(done.stdout).strip() if done.returncode == 0 else ""
    blocks = (block.splitlines() for block in out.split("\n\n") if block)
    found = [dict(line.partition(" ")[::2] for line in block) for block in blocks]
    return {Path(tree["worktree"]).resolve(): tree for tree in found}


def _is_live(repo: Repo, folder: Path) -> bool:
    """Whether ``folder`` is a checkout of this repository, not of one that it was copied from."""
    try:
        # Closed at once, because an open Repo may keep processes and their pipes.
        with git.Repo(folder, expand_vars=False) as opened:
            return Path(opened.common_dir).resolve() == repo.common_dir
    except (git.GitError, OSError, ValueError, LookupError):
        return False


def _repair(repo: Repo, folder: Path) -> None:
    """Mend the links between worktree and repository after a power cut, or both were moved."""
    link = folder / ".git"
    if not link.is_file():
        return
    target = folder / os.fsdecode(link.read_bytes().removeprefix(b"gitdir:").strip())
    common = target / "commondir"
    if common.is_file() and not common.read_bytes().strip(b"\0\n"):
        common.write_text("../..\n")  # as git writes it
    if not target.exists():  # else it may be a copy, and git would mend the original's links
        run_git("worktree", "repair", str(folder), cwd=repo.root)


def _without_filters(repo: Repo) -> list[str]:
    """Settings without the user's filters, such as LFS or git-crypt: they may be missing or hang.

    The files are then as they are committed, which is how train.py is read and trained, too.
    """
    names = run_git("config", "-z", "--name-only", "--get-regexp", r"^filter\.", cwd=repo.root)
    drivers = {name.rpartition(".")[0] for name in os.fsdecode(names.stdout).split("\0") if name}
    parts = ("clean=", "smudge=", "process=", "required=false")
    return [f"{driver}.{part}" for driver in sorted(drivers) for part in parts]


def _move_aside(folder: Path) -> str | None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    target = folder.with_name(f"{folder.name}.old-{time.time_ns()}")
    try:
        folder.rename(target)
    except OSError as error:
        raise RepoError(f"{folder} is in the way and cannot be moved: {error.strerror}") from error
    return f"{folder} was no worktree of this repository; it was moved to {target}"


def _operation(repo: Repo) -> str | None:
    """The unfinished git operation in the user's checkout, None if there is none."""
    found = (said for name, said in _OPERATIONS.items() if (repo.git_dir / name).exists())
    return next(found, None)


def _ready_branch(repo: Repo) -> str:
    """Name of the user's branch, after a check that a merge into it can be undone."""
    if operation := _operation(repo):
        raise RepoError(f"{repo.root} is in the middle of a {operation}: finish or abort it first")
    done = run_git("symbolic-ref", "--short", "-q", "HEAD", cwd=repo.root)
    if done.returncode != 0:
        raise RepoError(f"{repo.root} is not on a branch: git switch BRANCH, then adopt again")
    status = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    # As the user: without the user's core.autocrlf, every file would look changed.
    if run_git(*status, cwd=repo.root, as_user=True).stdout:
        raise RepoError(
            f"{repo.root} has uncommitted changes: commit or stash them, then adopt again; or take "
            "the patch with --patch"
        )
    ident = ("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
    if run_git(*ident, cwd=repo.root, as_user=True).returncode != 0:
        raise RepoError(
            "the merge is yours and git does not know you: git config user.name NAME; "
            "git config user.email ADDRESS; then adopt again"
        )
    return done.stdout.decode("utf-8", "replace").strip()


def _squashed(repo: Repo, sha: str) -> str:
    """One commit with all changes of a campaign up to ``sha``."""
    refs = repo.git("for-each-ref", "--format=%(objectname)", "refs/autoresearch/*/base").split()
    for ancestor in repo.git("rev-list", "--first-parent", sha).split():
        if ancestor in refs:
            return repo.squash(ancestor.decode(), sha)
    raise RepoError(f"{sha[:12]} is in no campaign of {repo.root}; see: git log --all")
