"""Any program as a model: the prompt on its standard input, the reply on its standard output.

Meant for coding-agent CLIs. The program is the user's own, so it gets the user's environment, keys
included, and the working directory; what it does there is not restricted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from agent.models.catalog import Entry
from agent.models.command import watcher as command_watcher
from agent.models.secrets import quote, redact, scrub
from agent.models.types import (
    Cancelled,
    Misconfigured,
    ModelError,
    OnText,
    Prompt,
    Reply,
    Unavailable,
)

MAX_REPLY_BYTES = 1 << 20
_WATCHER = Path(command_watcher.__file__)
_POLL_SECONDS = 0.1


class CommandModel:
    """A command line, run once for each reply. No shell is used: write ``sh -c '...'`` for one."""

    def __init__(
        self, command: str, *, environ: Mapping[str, str], entry: Entry, hidden: Sequence[str]
    ) -> None:
        """
        Args:
            hidden: values that must not be shown.

        Raises:
            Misconfigured: unbalanced quotes, or no such program.
        """
        self._hidden = hidden
        self.name = f"command:{redact(command, hidden)}"
        try:
            self._argv = shlex.split(command)
        except ValueError as error:
            raise Misconfigured(f"{self.name}: {error}") from None
        if "[key]" in command:
            raise Misconfigured(
                f"{self.name}: a key was left out where this was written down; give --llm again, "
                "best with the key in an environment variable that the program reads"
            )
        if not self._argv:
            raise Misconfigured("command: names no program; for example command:'claude -p'")
        if shutil.which(self._argv[0], path=environ.get("PATH")) is None:
            raise Misconfigured(f"{self.name}: there is no program {self._argv[0]!r}")
        self._environ = dict(environ)
        self._timeout = entry.timeout
        self._answered = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """See ``Model.complete``; ``max_tokens`` cannot be passed on."""
        # Files instead of pipes: no thread has to feed or drain them, and a left-over process that
        # holds one open does not block this one.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
            _watched(mark := uuid.uuid4().hex) as watcher,
        ):
            stdin.write(prompt.text.encode())
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    self._argv,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=self._environ | {command_watcher.MARK: mark},
                    start_new_session=True,
                )
            except OSError as error:
                raise Misconfigured(f"{self.name}: {error.strerror}") from None
            root = psutil.Process(process.pid)
            try:
                _tell(watcher, process.pid)
                failure = self._wait(process, stdout, on_text, cancel)
            finally:
                command_watcher.kill(root, mark)
                process.wait()
            if failure is None and process.returncode != 0:
                failure = self._failure(process.returncode, stderr)
            if failure is not None:
                raise failure
            self._answered = True
            text = _read(stdout, 0).decode(errors="replace")
        return Reply(scrub(text, self._hidden), "end", None, Path(self._argv[0]).name)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        stdout: IO[bytes],
        on_text: OnText | None,
        cancel: threading.Event | None,
    ) -> ModelError | None:
        """Wait until it ends or has to be killed; returns why it has to be killed, else None."""
        deadline = time.monotonic() + self._timeout
        shown = 0
        while True:
            try:
                process.wait(_POLL_SECONDS)
                ended = True
            except subprocess.TimeoutExpired:
                ended = False
            if on_text is not None:
                # Only whole lines, so that no multi-byte character is split.
                fresh = _read(stdout, shown)
                fresh = fresh if ended else fresh[: fresh.rfind(b"\n") + 1]
                shown += len(fresh)
                if fresh:
                    on_text(scrub(fresh.decode(errors="replace"), self._hidden))
            if os.fstat(stdout.fileno()).st_size > MAX_REPLY_BYTES:
                return Unavailable(f"{self.name}: the reply is over {MAX_REPLY_BYTES} bytes")
            if ended:
                return None
            if cancel is not None and cancel.is_set():
                raise Cancelled("asked to stop while waiting for the command")
            if time.monotonic() > deadline:
                return Unavailable(f"{self.name}: not done after {self._timeout:g} s, killed")

    def _failure(self, code: int, stderr: IO[bytes]) -> ModelError:
        size = os.fstat(stderr.fileno()).st_size
        words = _read(stderr, max(0, size - 4000)).decode(errors="replace").strip()
        ending = f"exit code {code}" if code > 0 else f"signal {-code}"
        # A shell exits with 126 or 127 if it cannot run a program. Most programs exit with 2 if
        # they do not understand their arguments; one that has answered before understands them.
        mistaken = code in (126, 127) or (code == 2 and not self._answered)
        said = quote(words.rpartition("\n")[2] if mistaken else words, self._hidden)
        message = f"{self.name}: ended with {ending}: {said or 'nothing on standard error'}"
        return Misconfigured(message) if mistaken else Unavailable(message)


def _read(file: IO[bytes], start: int) -> bytes:
    """Bytes from ``start`` on, without moving the offset at which the program writes."""
    return os.pread(file.fileno(), MAX_REPLY_BYTES, start)


@contextlib.contextmanager
def _watched(mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that kills all marked processes if this one dies; ``_tell`` sends it a pid."""
    watcher = subprocess.Popen(
        # -P: otherwise the script's folder comes first in sys.path and can hide packages.
        [sys.executable, "-P", str(_WATCHER), mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield watcher
    finally:
        watcher.kill()
        watcher.wait()
        assert watcher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            watcher.stdin.close()


def _tell(watcher: subprocess.Popen[bytes], pid: int) -> None:
    assert watcher.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        watcher.stdin.write(b"%d\n" % pid)
        watcher.stdin.flush()
