"""Measures in this process."""

from __future__ import annotations

import threading
from typing import Any

from agent.executors.base import Work
from trainer import measure
from trainer.measure import Watch
from trainer.training.job import OnEvent


class Local:
    """An executor that calls ``trainer.measure`` itself."""

    slots = 1

    def run(
        self,
        work: Work,
        *,
        on_event: OnEvent,
        cancel: threading.Event,
        watch: Watch | None = None,
    ) -> Any:
        how, first = dict(work.arguments), work.sources[0]
        if work.call == "heat":
            to = work.weights_to or None
            how |= {"on_event": on_event, "watch": watch, "weights_to": to}
            return measure.heat(work.sources, cancel=cancel, **how)
        if work.call == "audit":
            assert work.weights is not None
            return measure.audit(first, work.weights, on_event=on_event, cancel=cancel, **how)
        call = measure.check if work.call == "check" else measure.profile
        return call(first, cancel=cancel, **how)

    def close(self) -> None:
        """End the warm processes."""
        measure.MACHINE.close()
