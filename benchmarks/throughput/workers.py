"""A device of many slots, whose trainings only wait, and the real campaign: results a second.

All but the trainings is real, as in ``growth``; what is measured is how fast one process can draw,
check, commit, judge and journal. So it wants a quiet machine.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.campaign import events
from agent.campaign.files import JOURNAL
from agent.campaign.journal import read_events
from agent.loop import run_campaign
from benchmarks.throughput import growth

ASKED = 20.0
"""Results a second."""
SPARE = 2.0
"""A training waits so long that the workers could bring so many times as many results."""


class Waits:
    """An executor of many slots, which waits and then tells a score that is drawn."""

    def __init__(self, slots: int, seconds: float) -> None:
        self.slots, self._seconds = slots, seconds

    def run(self, work: Any, *, cancel: threading.Event, **_: Any) -> Any:
        first = work.sources[0]
        if work.call == "check":
            return growth.check(first)
        if work.call == "audit":
            return growth.audit()
        cancel.wait(self._seconds)
        seed, to = work.arguments["seed"], work.weights_to or None
        return growth.heat(work.sources, seed=seed, weights_to=to)

    def close(self) -> None:
        pass


def measured(workers: int, trials: int) -> dict[str, Any]:
    """A campaign of so many trials; a result is a candidate's part of a heat.

    In the middle, from the first verdict of an edit until the last trial is begun, no worker waits
    for want of trials, as at the beginning and at the end.
    """
    from agent.executors.heats import Devices  # only here: it takes a loop with lanes

    seconds = workers / (SPARE * ASKED)
    with tempfile.TemporaryDirectory(prefix="autoresearch-workers-") as made:
        folder = Path(made)
        with growth.running(folder) as runtime:
            ends = {"trials": trials, "heat": "1"}  # one candidate a heat, so that all count alike
            runtime.settings = runtime.settings.model_copy(update=ends)
            runtime.devices = Devices(Waits(workers, seconds))
            said = run_campaign(runtime)
        happened = read_events(folder / "campaigns" / growth.TAG / JOURNAL)
    over = [event.time for event in happened if isinstance(event, events.HeatOver)]
    verdicts = [event.time for event in happened if isinstance(event, events.Concluded)]
    begun = [event.time for event in happened if isinstance(event, events.TrialBegun)]
    steady = [time for time in over if verdicts[1] <= time <= begun[-1]]
    return {
        "workers": workers,
        "seconds_a_training": round(seconds, 2),
        "trials": trials,
        "ended": said,
        "results": len(over),
        "results_a_second": _rate(over),
        "results_a_second_in_the_middle": _rate(steady),
        "verdicts_a_second": _rate(verdicts),
        "cores": os.cpu_count(),
    }


def _rate(times: Sequence[float]) -> float:
    """So many a second, from the first to the last."""
    if len(times) < 2:
        return 0.0
    return round((len(times) - 1) / (times[-1] - times[0]), 2)
