"""The seam between the loop and whatever measures for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from trainer.measure import Watch
from trainer.training.job import OnEvent


@dataclass(frozen=True)
class Work:
    """One call of ``trainer.measure``, in plain data, so that it can be sent to another process."""

    call: Literal["heat", "check", "audit", "profile"]
    sources: tuple[str, ...]
    """Of a heat the champion first."""
    arguments: Mapping[str, Any]
    """Its keywords, as JSON can hold them."""
    weights_to: tuple[Path | None, ...] = ()
    """For each source; paths on the campaign's machine."""
    weights: Path | None = None
    """Of an audit."""


class Executor(Protocol):
    """Runs one work on one device at a time; called from many threads."""

    @property
    def slots(self) -> int:
        """How many works run at once."""

    def run(
        self,
        work: Work,
        *,
        on_event: OnEvent,
        cancel: threading.Event,
        watch: Watch | None = None,
    ) -> Any:
        """What ``trainer.measure`` returns; raises what it raises, and what ``watch`` does."""

    def close(self) -> None:
        """End all that it has started."""
