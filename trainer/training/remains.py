"""What a training leaves: files, clock readings, a scratch folder. All of it is untrusted."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from io import BufferedReader
from pathlib import Path

import numpy as np

TRACE_BYTES = 3_750_000
"""Limit on the readings of a clock, 8 bytes each."""


class NoFile(Exception):
    """There is no such file as could be used; the message says what is wrong."""


def open_file(path: Path, limit: int) -> BufferedReader:
    """A file that a training left, open for reading.

    Args:
        limit: bytes.

    Raises:
        NoFile: there is no regular file at ``path``, or its size is not within the limit.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = open(path, "rb", opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
    except OSError:
        raise NoFile("there is no file") from None
    state = os.fstat(file.fileno())
    if stat.S_ISREG(state.st_mode) and 0 < state.st_size <= limit:
        return file
    file.close()
    if stat.S_ISREG(state.st_mode):
        raise NoFile(f"{state.st_size} bytes, at most {limit} are allowed")
    raise NoFile("what is left in its place is no file")


def readings(value: object) -> bytes:
    """Readings of a clock, from base64; nothing if ``value`` is not that."""
    if not isinstance(value, str) or len(value) > TRACE_BYTES * 4 // 3:
        return b""
    try:
        decoded = base64.b64decode(value, validate=True)
    except ValueError:
        return b""
    return decoded if len(decoded) % 8 == 0 else b""


def recorded_steps(trace: str) -> int:
    """How often a recorded clock was asked whether training is done: those readings are below 0."""
    return int((np.frombuffer(readings(trace), dtype="<f8") < 0).sum())


def empty(folder: Path) -> None:
    """Remove the folders that a training left: they may be too deep for the standard library."""
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, "--", str(path)], check=False, stderr=subprocess.DEVNULL)
