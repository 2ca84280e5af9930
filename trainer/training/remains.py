"""What a training leaves: weights, clock readings, a scratch folder. All of it is untrusted."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TRACE_BYTES = 3_750_000
"""Limit on the readings of a clock, 8 bytes each."""


class WeightsError(Exception):
    """There is no file that could hold weights; the message says what is wrong."""


def open_weights(path: Path, limit: int) -> tuple[int, str]:
    """A descriptor of the weights, open for reading, and their SHA-256.

    Args:
        limit: bytes.

    Raises:
        WeightsError: there is no regular file at ``path``, or its size is not within the limit.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise WeightsError("there is no file of weights") from None
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        os.close(fd)
        raise WeightsError("what is left in their place is no file")
    if not 0 < state.st_size <= limit:
        os.close(fd)
        raise WeightsError(f"{state.st_size} bytes, at most {limit} are allowed")
    with os.fdopen(os.dup(fd), "rb") as file:
        return fd, hashlib.file_digest(file, "sha256").hexdigest()


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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
