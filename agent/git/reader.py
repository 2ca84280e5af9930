"""One git that reads object after object, where a git for each would take most of the time."""

from __future__ import annotations

import contextlib
import re
import threading
from pathlib import Path
from typing import Any

from agent.git.command import RepoError, start_git

_BY_HASH = re.compile(r"[0-9a-f]{40,64}(?:\^\{commit\}|:[^\n]*)?")
_HEADER = re.compile(rb"([0-9a-f]{40,64}) (\w+) (\d+)\n")


class Reader:
    """A ``git cat-file --batch``, started when it is first asked, and again if it has died.

    It is only asked for what a full hash names: the answer is the same at any time, as long as the
    object is there, and it comes without warnings, which nobody would read. It looks again for what
    it misses, so that it sees what others have written since.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: Any = None
        self._is_open = False
        self._mutex = threading.Lock()

    def open(self) -> None:
        """From now on it may keep a process, until it is closed."""
        self._is_open = True

    def close(self) -> None:
        self._is_open = False
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    pipe.close()
            process.proc.wait()

    def read(self, name: str) -> tuple[str, str, bytes] | None:
        """Hash, kind and content of an object; None if it has to be asked for in another way:
        there may be no such object, or it may be damaged."""
        if not self._is_open or not _BY_HASH.fullmatch(name):
            return None
        with self._mutex:
            try:
                return self._ask(name)
            except (OSError, ValueError, RepoError):
                self._end()
                return None

    def _ask(self, name: str) -> tuple[str, str, bytes] | None:
        if self._process is None:
            self._process = start_git("cat-file", "--batch", cwd=self._root)
        process = self._process
        process.stdin.write(f"{name}\n".encode())
        process.stdin.flush()
        header = process.stdout.readline()
        if header.endswith(b" missing\n"):
            return None
        match = _HEADER.fullmatch(header)
        if match is None:  # it has died, or the name is ambiguous
            raise ValueError(header)
        content = process.stdout.read(int(match[3]) + 1)
        if len(content) != int(match[3]) + 1:
            raise ValueError("it died")
        return match[1].decode(), match[2].decode(), content[:-1]
