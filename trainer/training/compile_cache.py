"""Keeps the files that a training compiled, for the next training of the same source.

A shared writable cache would carry what one training learnt into another. So a copy is made at
READY, when a training has no data yet, once for each source. Every later training of that source
gets a copy of this copy in its own fresh scratch. The files come from a candidate: only regular
files are copied, their number and size are bounded, and they are opened here only to copy them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections import OrderedDict
from pathlib import Path

FOLDER = "compiled"
"""Folder in a training's scratch, where Inductor and Triton keep what they compile."""
MAX_BYTES = 256 << 20
MAX_FILES = 4000
_MAX_DEPTH = 12
_KEPT = 4
_CHUNK = 1 << 20


class CompileCache:
    """The caches of the last few sources, for as long as this object lives."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._kept: OrderedDict[str, Path] = OrderedDict()

    def lend(self, key: str, scratch: Path) -> None:
        """Copy what is kept for ``key``, if anything, into a fresh scratch folder."""
        if key not in self._kept:
            return
        self._kept.move_to_end(key)
        try:
            shutil.copytree(self._kept[key], scratch / FOLDER)
        except OSError:  # no disk space: the training compiles again
            shutil.rmtree(scratch / FOLDER, ignore_errors=True)

    def take(self, key: str, scratch: Path) -> None:
        """Keep what a training has compiled by now, unless there is something for ``key`` already.

        The training still runs and may change its files meanwhile: it can harm only its own cache.
        """
        if key in self._kept:
            return
        try:
            source = os.open(scratch / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # nothing compiled
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="autoresearch-compiled-"))
        target = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            left = _Left(MAX_BYTES, MAX_FILES)
            _copy(source, target, left, 0)
        except (OSError, _TooMuch):
            shutil.rmtree(target, ignore_errors=True)
            return
        finally:
            os.close(source)
        if left.files == MAX_FILES:
            target.rmdir()
            return
        self._kept[key] = target
        while len(self._kept) > _KEPT:
            shutil.rmtree(self._kept.popitem(last=False)[1], ignore_errors=True)

    def has(self, key: str) -> bool:
        """Whether there is something to lend."""
        return key in self._kept

    def close(self) -> None:
        """Delete all caches."""
        self._kept.clear()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _TooMuch(Exception):
    """A cache exceeds the limits of what is kept."""


class _Left:
    """How many bytes and files may still be copied."""

    def __init__(self, size: int, files: int) -> None:
        self.size, self.files = size, files

    def spend(self, size: int, files: int = 0) -> None:
        self.size -= size
        self.files -= files
        if self.size < 0 or self.files < 0:
            raise _TooMuch


def _copy(source: int, target: Path, left: _Left, depth: int) -> None:
    """Copy regular files and folders from the directory ``source``; anything else is left out."""
    if depth > _MAX_DEPTH:
        raise _TooMuch
    with os.scandir(source) as listing:
        names = [entry.name for entry, _ in zip(listing, range(MAX_FILES + 1), strict=False)]
    for name in names:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.ExitStack() as stack:
            try:
                fd = os.open(name, flags, dir_fd=source)
            except OSError:  # a link, a socket, or gone since
                continue
            stack.callback(os.close, fd)
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                left.spend(0, 1)
                (target / name).mkdir()
                _copy(fd, target / name, left, depth + 1)
            elif stat.S_ISREG(mode):
                left.spend(0, 1)
                with (target / name).open("xb") as file:
                    while chunk := os.read(fd, _CHUNK):
                        left.spend(len(chunk))
                        file.write(chunk)
