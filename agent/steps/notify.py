"""Run the user's own command when something happens that a person wants to know."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from agent.models.secrets import quote, redact
from agent.settings import SettingsError
from trainer.untrusted import one_line

Event = Literal["stopped", "champion", "needed"]
"""The run has ended; a new champion; somebody has to mend something."""
TIMEOUT_SECONDS = 30.0
LONGEST = 1000
"""Characters of a message, and bytes of what the command says about its failure."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notifier:
    """Tells the user by a command, which gets the message on its standard input.

    No shell is used: write ``sh -c '...'`` for one. Without a command nothing happens.
    """

    command: tuple[str, ...] = ()
    tag: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: Collection[str] = field(default=(), repr=False)
    _queue: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1), repr=False, compare=False
    )

    def __call__(self, event: Event, message: str) -> None:
        """Run the command, after those that were asked for before, and wait until it has ended.

        If it fails, that is a line of the log and no more.
        """
        if self.command:
            self._queue.submit(self._tell, event, message).result()

    def soon(self, event: Event, message: str) -> None:
        """The same without waiting: a campaign goes on meanwhile."""
        if self.command:
            self._queue.submit(self._tell, event, message)

    def _tell(self, event: Event, message: str) -> None:
        message = one_line(redact(message, self.hidden), LONGEST)
        told = {"EVENT": event, "TAG": self.tag, "MESSAGE": message}
        try:
            with tempfile.TemporaryFile() as said:  # a pipe would wait for what it leaves running
                code = subprocess.run(
                    self.command,
                    input=f"{message}\n".encode(errors="replace"),
                    env={**self.environ, **{f"AUTORESEARCH_{k}": v for k, v in told.items()}},
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=TIMEOUT_SECONDS,
                    start_new_session=True,
                ).returncode
                words = os.pread(said.fileno(), LONGEST, 0).decode(errors="replace")
            why = f"exit status {code}: {words}" if code else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        if why:
            log.warning("--notify did not work (%s): %s", event, quote(why, self.hidden))


def make_notifier(
    command: str, tag: str, environ: Mapping[str, str], hidden: Collection[str]
) -> Notifier:
    """The notifier of a run.

    Raises:
        SettingsError: there is no such program.
    """
    parts = tuple(shlex.split(command))
    if parts and shutil.which(parts[0], path=environ.get("PATH", os.defpath)) is None:
        raise SettingsError(f"--notify: there is no program {quote(parts[0], hidden)}")
    return Notifier(parts, tag, environ, hidden)
