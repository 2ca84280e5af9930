"""The report of a campaign that runs: from time to time by a process of its own, and at its end.

That process has the lowest priority. A heat's trainings take turns, so it disturbs both alike.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.report.page.build import write_report
from trainer.errors import UserError
from trainer.untrusted import one_line

EVERY_SECONDS = 300.0
"""At most so often; the first time so long after the run began."""
log = logging.getLogger(__name__)


class Reporter:
    """Starts a process that writes the report, at most one at a time."""

    def __init__(self, repo: Repo, tag: str) -> None:
        self._command = [sys.executable, "-m", "agent.report.background", tag]
        self._root = repo.root
        self._last = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None

    def after_trial(self) -> None:
        """Start the process if it is due. Why an earlier one failed is a line of the log."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._collect(self._process)
        if time.monotonic() - self._last < EVERY_SECONDS:
            return
        self._last = time.monotonic()
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._root,
                stdin=subprocess.PIPE,  # at whose end, with this process, that one ends, too
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except OSError as error:
            log.warning("the report could not be begun: %s", error)

    def close(self) -> None:
        """End the process if it runs."""
        if self._process is not None:
            self._process.kill()
            self._collect(self._process)

    def _collect(self, process: subprocess.Popen[bytes]) -> None:
        _, said = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            last = said.decode(errors="replace").splitlines()[-1:]
            log.warning("the report was not written: %s", one_line("".join(last)))
        self._process = None


@contextlib.contextmanager
def reports(campaign: Campaign, tell: Callable[[str], None]) -> Iterator[Reporter]:
    """A reporter of the campaign; the report is written at the end, however it comes, unless the
    user has no time for it. That it cannot be is told, and ends nothing."""
    reporter = Reporter(campaign.repo, campaign.tag)
    try:
        yield reporter
    finally:
        reporter.close()
        if isinstance(sys.exception(), Exception | None):
            try:
                report(campaign.folder, campaign.state)
            except (UserError, OSError) as error:
                log.warning("the report was not written: %s", error)
                tell(f"the report was not written: {error}")


def report(folder: Path, state: State) -> None:
    """Write the report into a campaign's folder if there is a champion.

    Raises:
        UserError, OSError: it cannot be written.
    """
    if state.champion is not None:
        write_report(folder, state, reading.next_shares_of(state))


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # a buffered reader would hold a lock when Python ends
    os._exit(1)


def main() -> None:
    """Write the report of the campaign that the command line names."""
    os.nice(19)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        repo, tag = Repo.open(Path.cwd()), sys.argv[1]
        report(folder_of(repo, tag), reading.load(repo, tag))
    except (UserError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
