"""Remove a campaign: say what would go, then let it go. Commits on the user's branches stay."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.campaign import reading
from agent.campaign.files import JOURNAL, NOTEBOOK, PAUSE, folder_of
from agent.campaign.reading import CampaignError
from agent.campaign.recovery import own_commits
from agent.campaign.snapshot import SNAPSHOT
from agent.campaign.submissions import FOLDER
from agent.git import worktree
from agent.git.command import RepoError, run_git
from agent.git.repo import Repo
from agent.report.trackers import TRACKERS
from agent.steps.stop import REQUEST
from trainer.errors import UserError

WRITTEN = (
    f"{JOURNAL}*", "*.tsv", "*.html", "*.png", "*.json", "run.log*", "trials", "worktree", ".*.tmp",
    "harvest.md", NOTEBOOK, SNAPSHOT, REQUEST, PAUSE, FOLDER, *TRACKERS,
)  # fmt: skip
"""What campaigns write into their folder."""
OF_TRIALS = (
    "prompt*.md", "reply*.md", "diff.patch", "training-[0-9]*.*", "champion-[0-9]*.*", ".*.tmp",
    "notebook-*.md", "replay.json",
)  # fmt: skip
"""What they write into each of its folders ``trials/<n>``."""


@dataclass(frozen=True)
class Remains:
    """What there is of a campaign."""

    tag: str
    refs: dict[str, str]
    """Its branch, refs and notes, with their hashes."""
    worktree: str | None
    folder: str | None
    bytes: int
    yours: tuple[str, ...]
    """What the user made in it, in words."""

    def text(self) -> str:
        """What would be removed, a line each."""
        lines = [
            f"campaign {self.tag}:",
            f"  branch, notes and refs: {len(self.refs)}; git prunes their commits",
            f"  worktree: {self.worktree or 'none'}",
            f"  folder: {self.folder or 'none'}, {self.bytes / 1e6:.1f} MB",
            f"  stays: refs/notes/autoresearch-openings/{self.tag}, if the test text was opened",
            *(f"  YOURS, and removed as well: {one}" for one in self.yours),
        ]
        return "\n".join(lines)


def remains_of(repo: Repo, tag: str) -> Remains:
    """What there is of the campaign ``tag``.

    Raises:
        CampaignError: it runs, or there is nothing. RepoError: the user has a branch of it checked
            out.
    """
    repo.check_tag(tag)
    folder = folder_of(repo, tag)
    if (pid := reading.running(repo, tag)) is not None:
        raise CampaignError(
            f"campaign {tag} is running (process {pid}): python -m agent stop, then clean again"
        )
    place = folder / "worktree"
    worktree.refuse_if_checked_out(repo, tag, place)
    refs = repo.refs(repo.folder(tag), repo.notes_ref(tag))
    # Without the campaign's other traces, a branch of this name is somebody else's.
    branches = (repo.branch(tag), worktree.harvest_ref(tag))
    refs |= repo.refs(*branches) if refs or folder.exists() else {}
    for ref, path in worktree.checked_out(repo).items():
        if ref in refs and ref != repo.branch(tag):
            raise RepoError(f"{ref} is checked out: git -C {path} switch OTHER-BRANCH, then again")
    registered = worktree.registered(repo, tag, place)
    if not (refs or registered or os.path.lexists(folder)):
        reading.load(repo, tag)  # says that there is none, and which there are
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return Remains(
        tag=tag,
        refs=refs,
        worktree=str(place) if registered or place.exists() else None,
        folder=str(folder) if os.path.lexists(folder) else None,
        bytes=sum(path.stat().st_size for path in files),
        yours=tuple(_yours(repo, tag, folder, refs)),
    )


def remove(repo: Repo, found: Remains) -> None:
    """Remove all of it. What a kill leaves can be removed by another call.

    Raises:
        RepoError, OSError: something cannot be removed; the rest is as it was.
    """
    folder = folder_of(repo, found.tag)
    place = folder / "worktree"
    shutil.rmtree(place, ignore_errors=True)  # git would refuse to, where links are broken
    for path in worktree.registered(repo, found.tag, place):
        repo.git("worktree", "remove", "-f", "-f", str(path))
    repo.delete_refs(found.refs)
    section = f"branch.autoresearch/{found.tag}"
    run_git("config", "--local", "--remove-section", section, cwd=repo.root)
    # The journal goes last: as long as it is there, other commands find the campaign.
    for path in sorted(folder.glob("*"), key=lambda path: path.name.startswith(JOURNAL)):
        path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    if folder.exists():
        folder.resolve().rmdir()
    folder.unlink(missing_ok=True)  # it was a link


def _yours(repo: Repo, tag: str, folder: Path, refs: dict[str, str]) -> list[str]:
    """What is not a campaign's own work."""
    own = set(refs.values())
    with contextlib.suppress(UserError):  # a broken journal does not say which are its own
        state = reading.peek(repo, tag)
        if state.settings:
            own = own_commits(state).union(*state.harvested.get("made", {}).values())
    own.add(refs.get(repo.notes_ref(tag), ""))
    found = [
        f"commit {sha[:12]} ({ref})"
        for ref, sha in refs.items()
        if sha not in own or ref.startswith(f"{repo.folder(tag)}/moved")
    ]
    names = {"*": WRITTEN, "trials/*": ("[0-9]*",), "trials/*/*": OF_TRIALS}
    for places, own_names in names.items():
        paths = folder.glob(places)
        found += [str(p) for p in paths if not any(p.match(name) for name in own_names)]
    place = folder / "worktree"
    return found + [str(place / name) for name in worktree.edited(repo, place)]
