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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from agent.models import waits
from agent.models.catalog import Entry
from agent.models.command.supervisor import kill
from agent.models.command.words import SHORT, fault_in, meaning, reply_in
from agent.models.secrets import quote, redact, scrub
from agent.models.types import (
    Cancelled,
    Cause,
    Misconfigured,
    Prompt,
    Reply,
    Unavailable,
)

MAX_REPLY_BYTES = 1 << 20
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
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
        if shutil.which(self._argv[0], path=environ.get("PATH")) is None:
            raise Misconfigured(f"{self.name}: there is no program {self._argv[0]!r}")
        self._environ = dict(environ)
        self._timeout = entry.timeout
        self._answered = False

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``; ``max_tokens`` cannot be passed on."""
        # Files instead of pipes: no thread has to feed or drain them, and a left-over process that
        # holds one open does not block this one.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(prompt.text.encode())
            stdin.seek(0)
            mark = uuid.uuid4().hex
            # -P: otherwise the script's folder comes first in sys.path and can hide packages.
            supervisor = [sys.executable, "-P", str(_SUPERVISOR), mark, str(stdin.fileno())]
            try:
                with subprocess.Popen(
                    [*supervisor, *self._argv],
                    stdin=subprocess.PIPE,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[stdin.fileno()],
                    env=self._environ,
                    start_new_session=True,
                ) as process:  # whose end closes the pipe and waits until all is killed
                    self._wait(process, stdout, cancel)
            finally:
                # Nothing is left, unless the supervisor was itself killed.
                kill(mark)
            text = reply_in(os.pread(stdout.fileno(), MAX_REPLY_BYTES, 0))
            size = os.fstat(stderr.fileno()).st_size
            told = reply_in(os.pread(stderr.fileno(), 4000, max(0, size - 4000))).strip()
        if process.returncode != 0 or not text.strip() or fault_in(text):
            return self._instead(process.returncode, text.strip(), told)
        self._answered = True
        return Reply(scrub(text, self._hidden), "end", None, Path(self._argv[0]).name)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        stdout: IO[bytes],
        cancel: threading.Event | None,
    ) -> None:
        """Wait until it ends.

        Raises:
            Unavailable: it takes too long, or writes too much. Cancelled: ``cancel`` was set.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
            if os.fstat(stdout.fileno()).st_size > MAX_REPLY_BYTES:
                why = f"the reply is over {MAX_REPLY_BYTES} bytes"
                raise Unavailable(f"{self.name}: {why}", cause="paid")
            if process.returncode is not None:
                return
            if cancel is not None and cancel.is_set():
                raise Cancelled("asked to stop while waiting for the command")
            if time.monotonic() > deadline:
                why = f"not done after {self._timeout:g} s, killed"
                raise Unavailable(f"{self.name}: {why}", cause="paid")

    def _instead(self, code: int, printed: str, told: str) -> Reply:
        """Raise what it means that the program has ended so; a prompt's refusal is a reply."""
        ending = f"exit code {code}" if code >= 0 else f"signal {-code}"
        # A shell exits with 126 or 127 if it cannot run a program. Most programs exit with 2 if
        # they do not understand their arguments; one that has answered before understands them.
        mistaken = code in (126, 127) or (code == 2 and not self._answered)
        words = printed[-SHORT:] if code == 0 and printed else told or printed[-SHORT:]
        said = quote(words.rpartition("\n")[2] if mistaken else words, self._hidden)
        message = f"{self.name}: ended with {ending}: {said or 'it printed nothing'}"
        fault = meaning(words[-SHORT:])
        if mistaken or fault == "mend":
            raise Misconfigured(message)
        if fault == "refusal":
            return Reply("", "refusal", None, Path(self._argv[0]).name, said)
        cause: Cause = "outage" if fault == "outage" else "unexplained"
        raise Unavailable(message, cause=cause, retry_after=waits.in_words(words))
