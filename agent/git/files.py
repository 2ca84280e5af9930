"""What git's own files hold, read without git: for what git would read thousands of others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_HASH = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n?")


def is_emptied(path: Path) -> bool:
    """Whether it holds nothing, or only zeros, as file systems leave a file at a power cut."""
    with path.open("rb") as file:
        return not file.read(64).strip(b"\0\n")


def loose_refs(folder: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Of refs by name: the hashes of those that have a file, and those about which git must be
    asked, since they are packed, odd or in another store; a name that is in neither is no ref.

    Args:
        folder: the git directory of the repository.
    """
    if (folder / "reftable").exists():
        return {}, list(names)
    found, unsure = dict[str, str](), list[str]()
    packed: bytes | None = None
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            if packed is None:
                packed = _read(folder / "packed-refs")
            if b" %b\n" % name.encode() in packed:
                unsure.append(name)
            continue
        if _HASH.fullmatch(content):
            found[name] = content.decode().strip()
        else:
            unsure.append(name)
    return found, unsure


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
