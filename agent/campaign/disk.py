"""What the folders of a campaign's trials may take of the disk, and what goes first."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.campaign.files import remove_unfinished
from agent.campaign.records import Trial
from agent.campaign.state import State

MOST_BYTES = 2_000_000_000
LEFT = 0.9
"""Of that much so much is left after a removal, so that there is not one after each trial."""
log = logging.getLogger(__name__)
STAYS = ("diff.", "reply")
"""How the names of files begin that stay of every trial. A kept one keeps all but its weights."""


class Disk:
    """The folders of the trials; the weights of a trial serve its audit, up to its verdict.

    Those of champion and baseline are not kept either: nothing reads them, they may take hundreds
    of megabytes, and ``replay`` trains a commit again, by its recorded clock to the same bits where
    the machine allows that.
    """

    def __init__(self, campaign: Path, state: State) -> None:
        """Also removes what a kill left."""
        self._folder = campaign / "trials"
        self._bytes: int | None = None  # of all: counted at the first verdict, which has the time
        remove_unfinished(campaign)
        for trial in state.finished[-1:]:
            self._finish(trial)

    def after(self, trial: Trial, state: State) -> None:
        """Remove what a trial needs no more now that it has its verdict, and of the oldest trials
        if all together take too much."""
        if self._bytes is None:
            self._bytes = sum(self._finish(old) for old in state.finished)
        else:
            self._bytes += self._finish(trial)
        for old in state.finished if self._bytes > MOST_BYTES else ():
            if self._bytes > LEFT * MOST_BYTES and not old.kept:
                self._bytes -= (freed := self._remove_details(old))
                if freed:
                    log.info("trial %d keeps only reply and diff: the disk is limited", old.trial)

    def _finish(self, trial: Trial) -> int:
        """Remove weights and unfinished files of a trial; returns the bytes that are left."""
        folder = self._folder / str(trial.trial)
        remove_unfinished(folder)
        for weights in folder.glob("*.safetensors*"):
            weights.unlink(missing_ok=True)
        return sum(path.stat().st_size for path in _files(folder))

    def _remove_details(self, trial: Trial) -> int:
        """Returns the bytes that it freed."""
        freed = 0
        for path in _files(self._folder / str(trial.trial)):
            if not path.name.startswith(STAYS):
                freed += path.stat().st_size
                path.unlink()
        return freed


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_file()]
