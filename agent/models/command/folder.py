"""The folder that a program works in: filled before it runs, looked at when it has ended.

It is outside the user's checkout, and an empty git repository of its own: an agent that looks for
its project in the folders above finds this one, and one that works in repositories only goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.contract import MAX_SOURCE_BYTES
from trainer.source import not_utf8, plain
from trainer.untrusted import one_line

FILE, RULES, PROMPT = "train.py", "AGENTS.md", "prompt.md"
RULES_ELSEWHERE = ("CLAUDE.md", "GEMINI.md")
"""Where Claude Code and Gemini CLI look for what others read in AGENTS.md; both follow an @."""
NAMES = {FILE, "program.md", "history.md", RULES, *RULES_ELSEWHERE, PROMPT}
MAX_BYTES = 2 * MAX_SOURCE_BYTES  # CRLF line ends included
_MISSING = {errno.ENOENT: "it is gone", errno.ELOOP: "it is a symbolic link"}


@dataclass(frozen=True)
class Folder:
    """A program's folder."""

    path: str
    files: Mapping[str, str]
    """What was put into it, by name."""
    _opened: int
    """The folder itself, whatever ``path`` may have become."""

    def left(self) -> tuple[str | None, str]:
        """train.py as the program has changed it, None if it has not; and then why there is
        nothing to use although something was written, "" if nothing was."""
        if FILE not in self.files:
            return None, ""
        try:
            text = self._text(FILE)
        except ValueError as fault:
            return None, f"train.py in your folder cannot be used: {fault}"
        if _same(text, self.files[FILE]):
            return None, self._beside()
        return text, ""

    def _beside(self) -> str:
        with os.scandir(self._opened) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith((".", "__")))
        written = [name for name in names if name not in NAMES or self._is_changed(name)]
        what = one_line(", ".join(written[:5]))
        told = f"; of {what}, which you wrote, nothing is read"
        return f"train.py in your folder is as it was{told}" if written else ""

    def _is_changed(self, name: str) -> bool:
        try:
            return name in self.files and not _same(self._text(name), self.files[name])
        except ValueError:
            return True

    def _text(self, name: str) -> str:
        """
        Raises:
            ValueError: it is no file of this folder, or no text; the message says why.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

        def opener(path: str, _: int) -> int:
            return os.open(path, flags, dir_fd=self._opened)

        try:
            with open(name, "rb", opener=opener) as file:
                found = os.fstat(file.fileno())
                # A second name of a file may be the first one of a file that is not the program's.
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    raise ValueError("it is no ordinary file, or one with a second name")
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ValueError(_MISSING.get(error.errno or 0, "it is no ordinary file")) from None
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has over {MAX_BYTES} bytes; at most {MAX_SOURCE_BYTES} are taken")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(not_utf8(error)) from None


@contextlib.contextmanager
def scratch(files: Mapping[str, str]) -> Iterator[Folder]:
    """A folder with ``files`` and nothing else, removed at the end whatever is in it then."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-", ignore_cleanup_errors=True) as made:
        path = Path(made).resolve()
        for name in ("objects", "refs"):
            (path / ".git" / name).mkdir(parents=True)
        rules = dict.fromkeys(RULES_ELSEWHERE if RULES in files else (), f"@{RULES}\n")
        for name, text in {**files, **rules, ".git/HEAD": "ref: refs/heads/main\n"}.items():
            (path / name).write_bytes(text.encode())
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Folder(str(path), files, opened)
        finally:
            os.close(opened)


def _same(text: str, other: str) -> bool:
    """Whether two files are the same but for the form of their lines and empty ones at the end."""
    return plain(text).rstrip("\n") == plain(other).rstrip("\n")
