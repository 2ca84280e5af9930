"""Where a campaign keeps its files, and how a whole file is replaced."""

from __future__ import annotations

import os
from pathlib import Path

from agent.git.repo import Repo

JOURNAL = "journal.jsonl"


def folder_of(repo: Repo, tag: str) -> Path:
    return repo.root / "campaigns" / tag


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a whole file, so that a reader finds the old one or the new one.

    Raises:
        OSError: the folder cannot be written; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
