"""The folder that a program works in: filled before it runs, looked at when it has ended.

It is outside the user's checkout, and an empty git repository of its own: an agent that looks for
its project in the folders above finds this one, and one that works in repositories only goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainer.contract import MAX_SOURCE_BYTES
from trainer.source import not_utf8, plain
from trainer.training.scratch import scratch_folder
from trainer.untrusted import one_line

FILE, RULES, PROMPT = "train.py", "AGENTS.md", "prompt.md"
RULES_ELSEWHERE = ("CLAUDE.md", "GEMINI.md")
"""Where Claude Code and Gemini CLI look for what others read in AGENTS.md; both follow an @."""
NAMES = {FILE, "program.md", "history.md", RULES, *RULES_ELSEWHERE, PROMPT}
MAX_BYTES = 2 * MAX_SOURCE_BYTES  # CRLF line ends included
_MISSING = {errno.ENOENT: "it is gone", errno.ELOOP: "it is a symbolic link"}


@dataclass(frozen=True)
class Folder:
    """A program's folder, with the train.py that was put into it, "" if none was."""

    path: str
    source: str
    _opened: int
    """The folder itself, whatever ``path`` may have become."""

    def left(self) -> tuple[str | None, str]:
        """train.py as the program has changed it, None if it has not; and then why there is
        nothing to use although something was written, "" if nothing was."""
        if not self.source:
            return None, ""
        try:
            text = self._read()
        except ValueError as fault:
            return None, f"train.py in your folder cannot be used: {fault}"
        if plain(text).rstrip("\n") != plain(self.source).rstrip("\n"):
            return text, ""
        with os.scandir(self._opened) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith((".", "__")))
        written = one_line(", ".join(name for name in names if name not in NAMES))
        told = f"; of what you wrote beside it, nothing is read: {written}"
        return None, f"train.py in your folder is as it was{told}" if written else ""

    def _read(self) -> str:
        """
        Raises:
            ValueError: it is no file of this folder, or no text; the message says why.
        """

        def opener(name: str, _: int) -> int:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            return os.open(name, flags, dir_fd=self._opened)

        try:
            with open(FILE, "rb", opener=opener) as file:
                found = os.fstat(file.fileno())
                content = file.read(MAX_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
        except OSError as error:
            raise ValueError(_MISSING.get(error.errno or 0, "it is no ordinary file")) from None
        # A second name of a file may be the first one of a file that is not the program's.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise ValueError("it is no ordinary file, or one with a second name")
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has over {MAX_BYTES} bytes; at most {MAX_SOURCE_BYTES} are taken")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(not_utf8(error)) from None


@contextlib.contextmanager
def scratch(files: Mapping[str, str]) -> Iterator[Folder]:
    """A folder with ``files``, removed at the end whatever is in it then, or by a later training if
    all is killed at once."""
    with scratch_folder() as made:
        path = made.resolve()
        for name in ("objects", "refs"):
            (path / ".git" / name).mkdir(parents=True)
        rules = dict.fromkeys(RULES_ELSEWHERE if RULES in files else (), f"@{RULES}\n")
        for name, text in {**files, **rules, ".git/HEAD": "ref: refs/heads/main\n"}.items():
            (path / name).write_bytes(text.encode())
        opened = os.open(path, os.O_RDONLY)
        try:
            yield Folder(str(path), files.get(FILE, ""), opened)
        finally:
            os.close(opened)
