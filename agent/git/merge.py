"""Three-way merge of a file: bring to one version what another one changed in a common base."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from agent.git.command import RepoError, complaint, run_git
from trainer.source import plain

_SIZE = 60
"""Of conflict markers: no line of a train.py is like them."""
_PART = r"((?:.*\n)*?)"
_CONFLICT = re.compile(
    rf"^<{{{_SIZE}}} .*\n{_PART}\|{{{_SIZE}}} .*\n{_PART}={{{_SIZE}}}\n{_PART}>{{{_SIZE}}} .*\n",
    re.MULTILINE,
)


def merge(ours: str, base: str, theirs: str) -> tuple[str, list[str]]:
    """Bring to ``ours`` what ``theirs`` changed in ``base``, in plain form.

    Git takes changes of neighbouring lines for a conflict, but constants stand one a line: where
    each line is changed by one side only, both changes are taken.

    Returns:
        The merged text, and in words what both have changed.

    Raises:
        RepoError: git could not merge them.
    """
    texts = {"ours": ours, "base": base, "theirs": theirs}
    texts = {name: plain(text).rstrip("\n") + "\n" for name, text in texts.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            Path(folder, name).write_bytes(text.encode("utf-8", "surrogatepass"))
        how = ("merge-file", "-p", "-q", "--diff3", f"--marker-size={_SIZE}")
        done = run_git(*how, *texts, cwd=Path(folder))
    if done.returncode > 127:
        raise RepoError(f"git merge-file failed: {complaint(done)}")
    conflicts: list[str] = []

    def settle(found: re.Match[str]) -> str:
        a, b, c = (part.split("\n")[:-1] for part in found.groups())
        rows = list(zip(a, b, c, strict=False))
        if len(a) == len(b) == len(c) and all(x in (y, z) or y == z for x, y, z in rows):
            return "".join(f"{z if x == y else x}\n" for x, y, z in rows)
        line = texts["theirs"][: texts["theirs"].find(found[3])].count("\n") + 1
        said = [
            next((t.strip()[:100] for t in new if t.strip() and t not in b), "deleted")
            for new in (c, a)
        ]
        conflicts.append(f"line {line} ({said[0]!r}) is {said[1]!r} there")
        return found[0]

    return _CONFLICT.sub(settle, done.stdout.decode("utf-8", "surrogatepass")), conflicts
