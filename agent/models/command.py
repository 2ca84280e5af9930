"""Any program as a model: the prompt on its standard input, the reply on its standard output.

Meant for coding-agent CLIs. The program is the user's own, so it gets the user's environment, keys
included, and the working directory; what it does there is its own affair.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from agent.models.base import (
    Cancelled,
    Misconfigured,
    ModelError,
    OnText,
    Prompt,
    Reply,
    Unavailable,
    quote,
    scrub,
    secrets,
)
from agent.models.catalog import Entry

MAX_REPLY_BYTES = 1 << 20
MARK = "AUTORESEARCH_COMMAND"
"""In the environment of the program and all that it starts, which is how they are found again."""
_POLL_SECONDS = 0.1
_KILL_SECONDS = 10.0
_KILL_POLL_SECONDS = 0.02


class CommandModel:
    """A command line, run once for each reply. There is no shell: write ``sh -c '...'`` for one."""

    def __init__(self, command: str, *, environ: Mapping[str, str], entry: Entry) -> None:
        """
        Raises:
            Misconfigured: unbalanced quotes, or no such program.
        """
        try:
            self._argv = shlex.split(command)
        except ValueError as error:
            raise Misconfigured(f"command:{command}: {error}") from None
        if not self._argv:
            raise Misconfigured("command: names no program; for example command:'claude -p'")
        if shutil.which(self._argv[0], path=environ.get("PATH")) is None:
            raise Misconfigured(f"command:{command}: there is no program {self._argv[0]!r}")
        self._hidden = secrets(environ)
        self.name = f"command:{scrub(command, self._hidden)}"
        self._environ = dict(environ)
        self._timeout = entry.timeout

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
        # Files, not pipes: no reader to feed or drain, and a left-over process that holds one open
        # keeps nobody waiting.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(prompt.text.encode())
            stdin.seek(0)
            mark = uuid.uuid4().hex
            try:
                process = subprocess.Popen(
                    self._argv,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=self._environ | {MARK: mark},
                    start_new_session=True,
                )
            except OSError as error:
                raise Misconfigured(f"{self.name}: {error.strerror}") from None
            try:
                failure = self._wait(process, stdout, on_text, cancel)
            finally:
                _end(process, mark)
            if failure is None and process.returncode != 0:
                failure = self._failure(process.returncode, stderr)
            if failure is not None:
                raise failure
            text = _read(stdout, 0).decode(errors="replace")
        return Reply(scrub(text, self._hidden), "end", None, Path(self._argv[0]).name)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        stdout: IO[bytes],
        on_text: OnText | None,
        cancel: threading.Event | None,
    ) -> ModelError | None:
        """Until it ends or has to; the reason why it was not left to end."""
        deadline = time.monotonic() + self._timeout
        shown = 0
        while True:
            try:
                process.wait(_POLL_SECONDS)
                ended = True
            except subprocess.TimeoutExpired:
                ended = False
            if on_text is not None:
                # Only whole lines, so that no character is shown in halves.
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
        said = quote(_read(stderr, max(0, size - 4000)).decode(errors="replace"), self._hidden)
        ending = f"exit code {code}" if code > 0 else f"signal {-code}"
        message = f"{self.name}: ended with {ending}: {said or 'nothing on standard error'}"
        # 126 and 127 are a shell's words for a program that cannot be run.
        return Misconfigured(message) if code in (126, 127) else Unavailable(message)


def _read(file: IO[bytes], start: int) -> bytes:
    """From ``start`` on, without moving the offset that the program writes at."""
    return os.pread(file.fileno(), MAX_REPLY_BYTES, start)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the program and all that it started, those included that left its session."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        left = _marked(mark)
        if process.poll() is None:
            left += psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
        left = [victim for victim in left if victim.pid != process.pid]
        if not left:
            return
        for victim in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        time.sleep(_KILL_POLL_SECONDS)


def _marked(mark: str) -> list[psutil.Process]:
    """Live processes with the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
    return found
