"""Keeps what a training compiled, for the next training of the same source.

A shared writable cache would carry what one training learnt into another. So a training packs its
files before READY, when it has no data yet, and that archive is kept once for each source. Every
later training of that source gets a copy in its own fresh scratch. Only confined processes look
into an archive; here it is one file of bounded size.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import IO

from trainer.training.remains import NoFile, open_file

FOLDER = "compiled"
"""Folder in a training's scratch, where Inductor and Triton keep what they compile."""
PACKED = "compiled.tar"
MAX_BYTES = 1 << 30
"""Of one archive."""
_KEPT, _ATTEMPTS = 8, 3
_DAMAGED = (
    *(OSError, tarfile.TarError, ValueError, LookupError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What tarfile raises for archives that are damaged, or made to be."""


class CompileCache:
    """The archives of the last few sources, for as long as this object lives."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, IO[bytes]] = OrderedDict()
        self.refused: dict[str, str] = {}
        """By key: why nothing is kept."""

    def has(self, key: str) -> bool:
        """Whether there is something to lend."""
        return key in self._kept

    def has_tried(self, key: str) -> bool:
        """Whether there is something to lend, or what there was could not be kept."""
        return key in self._kept or key in self.refused

    def lend(self, key: str, scratch: Path) -> None:
        """Copy what is kept for ``key``, if anything, into a fresh scratch folder.

        Raises:
            OSError: there is no room for it.
        """
        if key not in self._kept:
            return
        self._kept.move_to_end(key)
        self._kept[key].seek(0)
        try:
            with (scratch / PACKED).open("xb") as copy:
                shutil.copyfileobj(self._kept[key], copy)
        except OSError:
            (scratch / PACKED).unlink(missing_ok=True)
            raise

    def take(self, key: str, scratch: Path) -> bool:
        """Keep what a training has packed, unless there is something for ``key`` already.

        The training still runs and may change the file meanwhile: it can harm only its own cache.
        """
        if key in self._kept:
            return False
        try:
            with open_file(scratch / PACKED, MAX_BYTES) as packed:
                copy = tempfile.TemporaryFile()  # noqa: SIM115
                while chunk := packed.read(min(1 << 20, MAX_BYTES - copy.tell())):
                    copy.write(chunk)
        except (NoFile, OSError) as error:
            self.refused[key] = f"what it compiled could not be kept ({error})"
            return False
        self._kept[key] = copy
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)[1].close()
        return True

    def close(self) -> None:
        """Delete all archives."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()
        self.refused.clear()


def pack(scratch: Path) -> None:
    """In the training: archive what it has compiled, even if that is nothing."""
    for _ in range(_ATTEMPTS):
        try:
            (scratch / FOLDER).mkdir(exist_ok=True)
            shutil.make_archive(str(scratch / FOLDER), "tar", scratch / FOLDER)
            return
        except (OSError, tarfile.TarError):  # a compiler at work has moved a file
            (scratch / PACKED).unlink(missing_ok=True)


def unpack(scratch: Path) -> None:
    """In the training: restore what an earlier one has packed, if anything was lent."""
    if (scratch / PACKED).exists():
        try:
            # No compression: what is unpacked could be far larger than what was kept.
            with tarfile.open(scratch / PACKED, mode="r:") as packed:
                packed.extractall(scratch / FOLDER, filter="data")
        except _DAMAGED:
            shutil.rmtree(scratch / FOLDER, ignore_errors=True)
        (scratch / PACKED).unlink()
