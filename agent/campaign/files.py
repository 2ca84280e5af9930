"""Where a campaign keeps its files, and how a whole file is replaced."""

from __future__ import annotations

import os
from pathlib import Path

from agent.git.repo import Repo
from trainer.errors import UserError

JOURNAL = "journal.jsonl"
NOTEBOOK = "notebook.md"
PAUSE = "pause"
"""A request to the run: begin no trial for now."""
MEND = (
    "free space or make the folder writable, then run again: the campaign goes on from the last "
    "event"
)


class Unwritable(UserError, OSError):
    """A file could not be written; the message says which, why and what to do."""


def folder_of(repo: Repo, tag: str) -> Path:
    return repo.root / "campaigns" / tag


def is_paused(folder: Path) -> bool:
    """Whether the run of the campaign in ``folder`` is asked to begin no trial for now."""
    return (folder / PAUSE).exists()


def write_atomically(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace a whole file, so that a reader finds the old one or the new one, after a power cut
    too if it is to ``sync``.

    Raises:
        Unwritable: the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise Unwritable(f"{path} could not be written: {why}; {MEND}") from error


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill in ``write_atomically`` left in a folder; nobody else writes there."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the name of a new file is on disk like its content."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
