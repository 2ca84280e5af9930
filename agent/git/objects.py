"""Git's objects as bytes, so that one command can write several: pure functions.

A pack is what ``git unpack-objects`` reads; it checks it, and writes each object as git does, with
the repository's own hash, permissions and care for the disk.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.git.command import EMAIL, NAME, RepoError

Kind = Literal["commit", "tree", "blob"]
Entries = Mapping[bytes, tuple[bytes, bytes]]
"""A tree: by name, the mode in octal digits and the raw hash."""
_NUMBERS: Mapping[Kind, int] = {"commit": 1, "tree": 2, "blob": 3}
FOLDER = b"40000"
MOST_NOTES = 256
"""In one tree; others go into folders, so that one more note costs the same after thousands."""


@dataclass(frozen=True)
class CommitInfo:
    """The content of a commit. Hashes have full length."""

    sha: str
    tree: str
    parent: str | None
    """First parent; None for a root commit."""
    message: str
    time: int
    """Committer's date, unix seconds."""


@dataclass(frozen=True)
class Object:
    """One that is to be written."""

    kind: Kind
    content: bytes

    def name(self, like: str) -> str:
        """Its hash in full, by the algorithm of the hash ``like``."""
        header = f"{self.kind} {len(self.content)}\0".encode()
        return _hash(header + self.content, like).hex()


def _hash(content: bytes, like: str) -> bytes:
    return hashlib.new("sha1" if len(like) == 40 else "sha256", content).digest()


def pack(objects: Iterable[Object], like: str) -> bytes:
    """The objects as a pack of version 2, which has the hash algorithm of ``like``."""
    packed = [_packed(one) for one in objects]
    body = b"PACK" + (2).to_bytes(4) + len(packed).to_bytes(4) + b"".join(packed)
    return body + _hash(body, like)


def _packed(one: Object) -> bytes:
    """The size stands in 4 bits beside the kind, then in 7 a byte, least first."""
    size = len(one.content)
    header, left = [_NUMBERS[one.kind] << 4 | size & 15], size >> 4
    while left:
        header[-1] |= 128
        header.append(left & 127)
        left >>= 7
    return bytes(header) + zlib.compress(one.content, 0)  # git does it again


def entries_of(tree: bytes, like: str) -> dict[bytes, tuple[bytes, bytes]]:
    """The entries of a tree's content."""
    found, at, size = dict[bytes, tuple[bytes, bytes]](), 0, len(like) // 2
    while at < len(tree):
        end = tree.index(b"\0", at)
        mode, _, name = tree[at:end].partition(b" ")
        found[name] = mode.lstrip(b"0"), tree[end + 1 : end + 1 + size]
        at = end + 1 + size
    return found


def tree_of(entries: Entries) -> Object:
    """A tree with these entries, in git's order: folders as if a slash ended their names."""
    order = sorted(entries, key=lambda name: name + b"/" * (entries[name][0] == FOLDER))
    parts = (b"%b %b\0%b" % (entries[name][0], name, entries[name][1]) for name in order)
    return Object("tree", b"".join(parts))


def commit_of(tree: str, parents: Iterable[str], message: str, when: int) -> Object:
    """A commit by the campaign, as ``git commit-tree`` makes it.

    Raises:
        RepoError: the message has a NUL, at which git would take it to end.
    """
    if "\0" in message:
        raise RepoError(f"a commit's message cannot hold a NUL: {message[:60]!r}")
    who = f"{NAME} <{EMAIL}> {when} +0000"
    lines = [f"tree {tree}", *(f"parent {one}" for one in parents)]
    lines += [f"author {who}", f"committer {who}", "", ""]
    return Object("commit", "\n".join(lines).encode() + message.encode("utf-8", "replace"))


def info_of(sha: str, content: bytes) -> CommitInfo:
    """What a commit's content says."""
    header, _, message = content.partition(b"\n\n")
    # A merge has several parents, of which the first counts.
    lines = (line.partition(b" ") for line in reversed(header.split(b"\n")))
    fields = {key: value for key, _, value in lines}
    return CommitInfo(
        sha=sha,
        tree=fields[b"tree"].decode(),
        parent=fields[b"parent"].decode() if b"parent" in fields else None,
        message=message.decode("utf-8", "replace"),
        time=int(fields[b"committer"].rsplit(b" ", 2)[1]),
    )


def put_file(
    read: Callable[[str], bytes], tree: str, path: Sequence[str], blob: str
) -> list[Object] | None:
    """The trees that give ``tree`` another content of the regular file at ``path``, the top last;
    None if there is no such file.

    Args:
        read: gives the content of a tree by its hash.
    """
    name, below = path[0].encode(), path[1:]
    entries = entries_of(read(tree), tree)
    mode, own = entries.get(name, (b"", b""))
    made: list[Object] | None = []
    if below and mode == FOLDER:
        made = put_file(read, own.hex(), below, blob)
        blob = made[-1].name(tree) if made else ""
    elif below or mode not in (b"100644", b"100755"):
        made = None
    if made is None:
        return None
    return [*made, tree_of({**entries, name: (mode, bytes.fromhex(blob))})]


def put_notes(read: Callable[[str], bytes], tree: str, notes: Mapping[str, str]) -> list[Object]:
    """The trees that give the notes in ``tree``, "" for none, other notes of some commits, the top
    last.

    Notes stand at the commit's hash, or where there are many of them in folders by its digits two
    by two, which git reads however they are mixed.

    Args:
        notes: by commit, the blob that is to be its note; at least one.
    """
    like = next(iter(notes.values()))
    entries, made = entries_of(read(tree), like) if tree else {}, list[Object]()
    is_full = sum(mode != FOLDER for mode, _ in entries.values()) >= MOST_NOTES
    below: dict[bytes, dict[str, str]] = {}
    for commit, blob in notes.items():
        name, folder = commit.encode(), commit[:2].encode()
        if name in entries or not (folder in entries or is_full):
            entries[name] = b"100644", bytes.fromhex(blob)
        else:
            below.setdefault(folder, {})[commit[2:]] = blob
    for folder, rest in below.items():
        _, own = entries.get(folder, (b"", b""))
        made += put_notes(read, own.hex(), rest)
        entries[folder] = FOLDER, bytes.fromhex(made[-1].name(like))
    return [*made, tree_of(entries)]
