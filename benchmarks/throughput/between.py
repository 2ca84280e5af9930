"""How busy the device was between the first heat of a campaign and its last, by its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from agent.campaign import device_time, events
from agent.campaign.journal import read_events


def between_heats(path: Path) -> dict[str, Any]:
    """Seconds of one device; a campaign without a heat has none.

    ``overhead_seconds_a_heat`` is what a heat takes outside training and scoring, of which
    ``starting_seconds_a_heat`` are those until its trainings were ready for data. Heats that share
    a champion's training are one.
    """
    happened = read_events(path)
    places = [
        n for n, e in enumerate(happened) if isinstance(e, events.HeatBegun | events.HeatOver)
    ]
    if not places:
        return {"heats": 0}
    clock, marks = device_time.NEW, []
    for number, event in enumerate(happened):
        clock = device_time.after(clock, event)
        if number in (places[0], places[-1]):
            marks.append(device_time.device_time(clock))
    first, last = marks
    lost = {cause: last.lost.get(cause, 0.0) - first.lost.get(cause, 0.0) for cause in last.lost}
    heats = [*_heats(happened[places[0] : places[-1] + 1])]
    over = [seconds - spent for seconds, spent, _ in heats]
    seconds, busy = last.running - first.running, last.busy - first.busy
    return {
        "heats": len(over),
        "seconds": round(seconds, 1),
        "busy_share": round(busy / seconds, 4),
        "lost_seconds": {cause: round(s, 1) for cause, s in lost.items() if s >= 0.05},
        "drafting_hidden_seconds": round(last.hidden - first.hidden, 1),
        "overhead_seconds_a_heat": round(median(over), 3),
        "starting_seconds_a_heat": round(median(starting for _, _, starting in heats), 3),
        "worst_overhead_seconds": round(max(over), 3),
    }


def _heats(happened: Sequence[events.Event]) -> Iterable[tuple[float, float, float]]:
    """Of each heat: how long it was, how long its trainings were trained and scored, and how long
    they took to start."""
    open_, spent, starting, since = set[int](), 0.0, 0.0, 0.0
    for event in happened:
        match event:
            case events.HeatBegun():
                since = since if open_ else event.time
                open_.add(event.trial)
            case events.HeatOver():
                new = [training for training in event.trainings if not training.reused]
                spent += sum(one.train_seconds + (one.score_seconds or 0.0) for one in new)
                starting += sum(one.startup_seconds for one in new)
                open_.discard(event.trial)
                if not open_:
                    yield event.time - since, spent, starting
                    spent = starting = 0.0
            case events.RunBegun():  # what was under way is done again
                open_.clear()
                spent = starting = 0.0
            case _:
                pass
