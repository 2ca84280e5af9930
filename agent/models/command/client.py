"""Any program as a model: the prompt on its standard input; the reply is train.py as the program
leaves it in a folder of its own, or its standard output if it leaves that as it was.

Meant for coding-agent CLIs. The program is the user's own, so it gets the user's environment, keys
included; what it does is not restricted.
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
from agent.models.command.folder import NAMES, PROMPT, scratch
from agent.models.command.supervisor import kill
from agent.models.command.words import SHORT, fault_in, holds_block, holds_edit, meaning, reply_in
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
MAX_OUTPUT_BYTES = 64 << 20
"""Of a program that may tell of all its work, where its edit is in a file."""
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_POLL_SECONDS = 0.1
_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables by which git, and so a coding agent, would take the user's repository for its own."""


class CommandModel:
    """A command line, run once for each reply. No shell is used: write ``sh -c '...'`` for one.

    ``{file}`` in it becomes the path of a file with the prompt; standard input is empty then.
    """

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
        program = shutil.which(self._argv[0], path=environ.get("PATH"))
        if program is None:
            raise Misconfigured(f"{self.name}: there is no program {self._argv[0]!r}")
        if not Path(program).is_absolute():
            self._argv[0] = str(Path(program).absolute())
        self._argv[1:] = map(_from_here, self._argv[1:])
        self._environ = {n: value for n, value in environ.items() if n not in _REPOSITORY}
        self._environ["AUTORESEARCH_FROM"] = str(Path.cwd())  # for the program's own use
        self._timeout = entry.timeout
        self._answered = False

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``; ``max_tokens`` cannot be passed on."""
        in_file = any("{file}" in part for part in self._argv)
        # Files instead of pipes: no thread has to feed or drain them, and a left-over process that
        # holds one open does not block this one.
        with (
            scratch({**prompt.files, PROMPT: prompt.text} if in_file else prompt.files) as folder,
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(b"" if in_file else prompt.text.encode())
            stdin.seek(0)
            mark = uuid.uuid4().hex
            # -P: otherwise the script's folder comes first in sys.path and can hide packages.
            supervisor = [sys.executable, "-P", str(_SUPERVISOR), mark, str(stdin.fileno())]
            command = [part.replace("{file}", f"{folder.path}/{PROMPT}") for part in self._argv]
            try:
                with subprocess.Popen(
                    [*supervisor, *command],
                    stdin=subprocess.PIPE,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[stdin.fileno()],
                    cwd=folder.path,
                    # Some programs, opencode is one, believe PWD rather than the system.
                    env=self._environ | {"PWD": folder.path},
                    start_new_session=True,
                ) as process:  # whose end closes the pipe and waits until all is killed
                    self._wait(process, (stdout, stderr), cancel)
            finally:
                # Nothing is left, unless the supervisor was itself killed.
                kill(mark)
            file, flaw = folder.left()
            edited, code = file is not None, process.returncode
            self._refuse_over(MAX_OUTPUT_BYTES if edited else MAX_REPLY_BYTES, stdout)
            text = reply_in(_end_of(stdout, MAX_REPLY_BYTES), edited)
            told = reply_in(_end_of(stderr, 4000)).strip()
        nothing = not (text.strip() or edited or flaw)
        if code != 0 or nothing or fault_in(text, edited):
            return self._instead(code, text.strip(), told, edited)
        self._answered = True
        program, text = Path(self._argv[0]).name, scrub(text, self._hidden)
        if edited or holds_block(text) or not (flaw or (prompt.files and holds_edit(text))):
            return Reply(text, "end", None, program, file=file and scrub(file, self._hidden))
        untouched = "train.py in your folder is as it was, and no block was printed"
        return Reply(text, "unusable", None, program, flaw or untouched)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        printed: Sequence[IO[bytes]],
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
            self._refuse_over(MAX_OUTPUT_BYTES, *printed)
            if process.returncode is not None:
                return
            if cancel is not None and cancel.is_set():
                raise Cancelled("asked to stop while waiting for the command")
            if time.monotonic() > deadline:
                why = f"not done after {self._timeout:g} s, killed"
                raise Unavailable(f"{self.name}: {why}", cause="paid")

    def _refuse_over(self, most: int, *printed: IO[bytes]) -> None:
        if any(os.fstat(file.fileno()).st_size > most for file in printed):
            raise Unavailable(f"{self.name}: the reply is over {most} bytes", cause="paid")

    def _instead(self, code: int, printed: str, told: str, edited: bool) -> Reply:
        """Raise what it means that the program has ended so; a prompt's refusal is a reply.

        What it has left in train.py is not used: an agent edits in steps, and nothing says that
        the last of them was done.
        """
        ending = f"exit code {code}" if code >= 0 else f"signal {-code}"
        # A shell exits with 126 or 127 if it cannot run a program. Most programs exit with 2 if
        # they do not understand their arguments; one that has answered before understands them.
        mistaken = code in (126, 127) or (code == 2 and not self._answered and not edited)
        words = printed[-SHORT:] if code == 0 and printed else told or printed[-SHORT:]
        said = quote(words.rpartition("\n")[2] if mistaken else words, self._hidden)
        message = f"{self.name}: ended with {ending}: {said or 'it printed nothing'}"
        fault = meaning(words[-SHORT:])
        if mistaken or fault == "mend":
            raise Misconfigured(message)
        if fault == "refusal":
            return Reply("", "refusal", None, Path(self._argv[0]).name, said)
        cause: Cause = "outage" if fault == "outage" else "paid" if edited else "unexplained"
        raise Unavailable(message, cause=cause, retry_after=waits.in_words(words))


def _end_of(file: IO[bytes], most: int) -> bytes:
    return os.pread(file.fileno(), most, max(0, os.fstat(file.fileno()).st_size - most))


def _from_here(argument: str) -> str:
    """An argument that names a file in the working directory, so that it does from elsewhere.

    Names that are in the program's folder mean that one; a bare word may be a command's name.
    """
    option, sign, path = "", "", argument
    if argument.startswith("-"):
        option, sign, path = argument.rpartition("=")
    bare = os.sep not in path and "." not in path
    with contextlib.suppress(OSError):  # it is too long for a path
        if not bare and Path(path).name not in NAMES and Path(path).is_file():
            return f"{option}{sign}{Path(path).absolute()}"
    return argument
