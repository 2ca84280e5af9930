"""Artifacts: folders of files, complete or absent, each made from the artifact below it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainer.errors import UserError

MANIFEST = "manifest.json"
_SUM = f"{MANIFEST}.sha256"
_MAKING = ".making-"


class DataError(UserError):
    """The corpus is not available; the message says what failed, where, and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A folder whose manifest is valid and has the right sizes of its files."""

    path: Path
    manifest: Mapping[str, Any]
    sha256: str
    """SHA-256 of the manifest, which holds the hashes of all files and of the artifact below."""


class Writer:
    """Writes the files of an artifact that is being made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[Callable[[bytes], int]]:
        """A function that appends to a new file and returns the number of bytes; synced at last."""
        digest = hashlib.sha256()
        with (self.folder / name).open("wb") as file:

            def append(chunk: bytes) -> int:
                digest.update(chunk)
                return file.write(chunk)

            yield append
            file.flush()
            os.fsync(file.fileno())
            self.files[name] = {"size": file.tell(), "sha256": digest.hexdigest()}

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        with self.open(name) as append:
            append(content)


def read(path: Path, below: Artifact | None) -> Artifact | None:
    """The artifact at ``path``; None if it is missing, damaged, or made from another ``below``."""
    try:
        raw = (path / MANIFEST).read_bytes()
        sha256 = hashlib.sha256(raw).hexdigest()
        if (path / _SUM).read_text() != _sum_of(sha256):
            return None
        manifest = json.loads(raw)
        whole = manifest["below"] == (below.sha256 if below else "") and all(
            (path / name).stat().st_size == file["size"] for name, file in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Artifact(path, manifest, sha256) if whole else None


def _sum_of(sha256: str) -> str:
    """What ``sha256sum`` writes for a manifest, and ``sha256sum -c`` reads."""
    return f"{sha256}  {MANIFEST}\n"


def intact(artifact: Artifact) -> bool:
    """Whether every file's SHA-256 is the manifest's."""
    try:
        return all(
            digest(artifact.path / n) == f["sha256"] for n, f in artifact.manifest["files"].items()
        )
    except OSError:
        return False


def digest(path: Path) -> str:
    """SHA-256 of a file, which is read once per process as long as it stays as it is."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns, found.st_ino)


@cache
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(
    path: Path, below: Artifact | None, fill: Callable[[Writer], Mapping[str, Any]]
) -> Artifact:
    """Make an artifact and replace what is at ``path``; the caller holds the source's lock.

    ``fill`` writes the files and returns the other entries of the manifest.
    """
    temporary = path.with_name(_MAKING + path.name)
    temporary.mkdir()
    try:
        writer = Writer(temporary)
        facts = fill(writer)
        manifest = {**facts, "below": below.sha256 if below else "", "files": writer.files}
        raw = json.dumps(manifest, indent=1, sort_keys=True).encode()
        writer.write(MANIFEST, raw)
        writer.write(_SUM, _sum_of(hashlib.sha256(raw).hexdigest()).encode())
        _sync_folder(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)  # a file in its place
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if (artifact := read(path, below)) is None:
        raise FileNotFoundError(errno.ENOENT, "deleted as soon as it was made", str(path))
    return artifact


def clean(folder: Path) -> None:
    """Remove what killed preparations of a source left; the caller holds the source's lock."""
    for leftover in folder.glob(f"*/{_MAKING}*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
