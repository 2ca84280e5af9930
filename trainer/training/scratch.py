"""Scratch folders of trainings, and those that a killed process has left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trainer.sandbox import owner
from trainer.training.remains import empty

_PREFIX = "autoresearch-"
_NAME = re.compile(rf"{_PREFIX}(\w+-\w+-\w+-\d+-\w+)-\w+")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, which names its owner and is removed at the end, whatever is in it."""
    prefix = f"{_PREFIX}{owner.this_process()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        finally:
            with contextlib.suppress(FileNotFoundError):  # whoever worked in it has removed it
                empty(Path(name))


def sweep() -> int:
    """Remove this user's scratch folders whose owner has ended; returns how many."""
    swept = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        named = _NAME.fullmatch(path.name)
        left_by = owner.parse(named[1]) if named else None
        with contextlib.suppress(OSError):  # another process sweeps, too
            mine = not path.is_symlink() and path.stat().st_uid == os.getuid()
            if mine and left_by is not None and left_by.is_dead:
                empty(path)
                shutil.rmtree(path)
                swept += 1
    return swept
