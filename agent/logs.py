"""What a run did, for whoever asks at 3 o'clock: ``run.log`` in the campaign's folder."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Collection, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from agent.models.secrets import redact
from trainer.errors import UserError
from trainer.untrusted import printable

FILE = "run.log"
BYTES = 1_000_000
OLDER_FILES = 3
LONGEST = 20_000
"""Characters of one message, its traceback included."""


class _Safe(logging.Formatter):
    """Writes no secret, and nothing from a model or a training that a terminal would obey."""

    def __init__(self, hidden: Collection[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        text = printable(redact(super().format(record), self._hidden), LONGEST)
        return text.replace("\n", "\n    ")  # so that no text can pass for a line of its own


@contextlib.contextmanager
def logged(folder: Path, hidden: Collection[str], verbose: bool = False) -> Iterator[None]:
    """Log to the campaign's folder, and to stderr if verbose; what ends the block is logged, too.

    Args:
        hidden: secrets, which are not written.
    """
    logging.raiseExceptions = False  # a full disk stops nothing here; the journal reports it
    file = RotatingFileHandler(
        folder / FILE, maxBytes=BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True
    )
    handlers: list[logging.Handler] = [file, logging.StreamHandler()] if verbose else [file]
    root = logging.getLogger()
    for handler in handlers:
        handler.setFormatter(_Safe(hidden))
        root.addHandler(handler)
    for ours in ("agent", "trainer"):  # of libraries only warnings
        logging.getLogger(ours).setLevel(logging.INFO)
    try:
        yield
    finally:
        if error := sys.exception():
            bug = (
                error if isinstance(error, Exception) and not isinstance(error, UserError) else None
            )
            logging.getLogger(__name__).error("the run ends: %s", error, exc_info=bug)
        for handler in handlers:
            root.removeHandler(handler)
        with contextlib.suppress(OSError):
            file.close()
