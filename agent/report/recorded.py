"""A real campaign from a record, played at many times its speed: what a night looks like.

The record is a trimmed journal: every score, loss, verdict and time in it was measured, and
everything that shows it says that it was recorded. Between two events, which a journal does not
tell, curves grow evenly along the losses that were measured. ``benchmarks.record`` makes a record
of any campaign.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from agent.campaign import events
from agent.campaign.events import Event, read_event
from agent.campaign.live import Curve, Live, course
from agent.campaign.records import Training
from agent.campaign.state import State, fold
from trainer.untrusted import one_line

SHIPPED = "night.jsonl.gz"
"""The record that is installed with this module."""
PLAYED_SECONDS = 100.0
"""How long it takes to play a record."""
LONGEST_BREAK = 60.0
"""Seconds of a record between the end of a run and what was done later."""


class Recorded:
    """A campaign that happens again, by the clock: see ``narrate.Watched``."""

    def __init__(
        self,
        record: bytes | None = None,
        seconds: float = PLAYED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            record: gzipped lines of JSON: what it is, events, diffs; None for the shipped one.
            seconds: how long all of it takes.
        """
        if record is None:
            record = resources.files("agent.report").joinpath(SHIPPED).read_bytes()
        lines = [json.loads(line) for line in gzip.decompress(record).splitlines()]
        about: Mapping[str, Any] = lines[0]
        self._events = [read_event(line, about["format"]) for line in lines if "event" in line]
        self._due = list(_due(self._events))
        self._speed = max(1.0, self._due[-1] / seconds)
        self._clock, self._began, self._told = clock, clock(), 0
        self.tag = one_line(about["tag"])
        self.recorded = one_line(
            f"RECORDED {about['date']}, played {self._speed:.0f} times as fast, nothing is trained "
            f"now: {about['what']}",
            1000,
        )
        self._folder = tempfile.TemporaryDirectory(prefix="autoresearch-recorded-")
        self.folder = Path(self._folder.name)
        for line in lines:
            if "diff" in line:
                path = self.folder / "trials" / str(int(line["trial"])) / "diff.patch"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(line["diff"])
        self.state = State()
        for _ in self._take(lambda number: not self.state.trials):
            pass  # so that there is something to look at

    @property
    def _now(self) -> float:
        """Seconds of the record, from its first event on."""
        return (self._clock() - self._began) * self._speed

    def news(self) -> Iterator[Event]:
        now = self._now
        return self._take(lambda number: self._due[number] <= now)

    def _take(self, is_due: Callable[[int], bool]) -> Iterator[Event]:
        while self._told < len(self._events) and is_due(self._told):
            event = self._events[self._told]
            self._told += 1
            fold([event], self.state)
            yield event

    @property
    def pid(self) -> int | None:
        return None if self.state.stop_reason else os.getpid()

    @property
    def is_over(self) -> bool:
        return self._told == len(self._events)

    @property
    def live(self) -> Live | None:
        if self.pid is None or not self._told:
            return None
        over = self._now - self._due[self._told - 1]
        lasts = self._due[self._told] - self._due[self._told - 1] if not self.is_over else 1.0
        live = self._live(min(1.0, over / max(lasts, 1e-9)))
        return live.model_copy(update={"since": time.time() - max(0.0, over)})

    def _live(self, share: float) -> Live:
        """What was done when ``share`` of the time from the last event to the next was over."""
        last, trial = self._events[self._told - 1], self.state.open_trial
        following = self._events[self._told] if not self.is_over else None
        if trial is None:
            return Live.of(stage="choosing")
        budget = str(self.state.settings.get("budget"))
        if isinstance(last, events.HeatBegun) and isinstance(following, events.HeatOver):
            live = Live.of(trial, stage="training", heat=last.heat, budget=budget)
            return _grown(live, following.trainings, share)
        if isinstance(last, events.TrainingBegun) and isinstance(following, events.TrainingOver):
            live = Live.of(trial, stage="training", budget=budget)
            return _grown(live, [following.training], share)
        is_drafting = isinstance(last, events.TrialBegun | events.Asking)
        return Live.of(trial, stage="drafting" if is_drafting and trial.trial else "judging")

    def close(self) -> None:
        self._folder.cleanup()


def _due(happened: Sequence[Event]) -> Iterator[float]:
    """When each event is due, in seconds after the first."""
    at = 0.0
    yield at
    is_over = False
    for before, event in itertools.pairwise(happened):
        is_over = is_over or isinstance(before, events.RunEnded)
        between = max(0.0, event.time - before.time)
        at += min(between, LONGEST_BREAK) if is_over else between
        yield at


def _grown(live: Live, runs: Sequence[Training], share: float) -> Live:
    """Trainings that took turns, when ``share`` of the time that they took in all is over."""
    trained = sum(run.train_seconds for run in runs if not run.reused)
    took = max(trained, *(run.wall_seconds for run in runs), 1e-9)
    before = (1 - trained / took) / 2  # to start up; as long again, to be scored
    done = (share - before) / (trained / took) if trained else 1.0
    if done >= 1.0:
        left = (share - before - trained / took) / max(before, 1e-9)
        live = live.model_copy(update={"stage": "scoring", "share": min(1.0, max(0.0, left))})
    elif done >= 0.0:
        live = live.model_copy(update={"share": done * max(run.spent for run in runs)})
    curves: dict[str, Curve] = {
        run.role: _so_far(run, 1.0 if run.reused else min(1.0, max(0.0, done))) for run in runs
    }
    return live.model_copy(update=curves)


def _so_far(run: Training, share: float) -> Curve:
    """The curve of a training, of which ``share`` is over."""
    end = 1.0 if share >= 1.0 else share * run.spent
    return tuple(point for point in course(run.losses) if point[0] <= end + 1e-9)
