"""Notices what spoils a measurement from outside, such as a machine that was suspended."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from trainer.results import ScoringResult
from trainer.training.job import OnEvent, Trained

TICK_SECONDS = 0.25
LONGEST_SECONDS = 5.0
"""A measurement during which nothing moved for longer is void."""

Measured = tuple[Sequence[Trained], Sequence[ScoringResult]]


def since_boot() -> float:
    """Seconds on a clock that goes on while the machine is suspended, and that nobody sets."""
    if sys.platform != "linux":  # on macOS it goes on, and time.monotonic does not
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Standstill:
    """A context manager; ``seconds`` is the longest time within it in which nothing moved.

    A thread looks at the clock four times a second. It comes too late where the machine was
    suspended, where it is a virtual one that was paused, and where this process was stopped.
    """

    def __enter__(self) -> Self:
        self.seconds = 0.0
        self._last = since_boot()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()  # the end may come before the thread has seen what happened

    @property
    def is_void(self) -> bool:
        return self.seconds > LONGEST_SECONDS

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self._look()

    def _look(self) -> None:
        now = since_boot()
        self.seconds = max(self.seconds, now - self._last)
        self._last = now


def undisturbed(
    once: Callable[[], Measured], on_event: OnEvent | None, cancel: threading.Event | None
) -> Measured:
    """Measure again what the machine has spoilt, since it says nothing of the sources.

    That is each time that the machine stood still, but only the first time that a training was
    ended from outside: a source can do that to itself.
    """
    may_be_outside = True
    while True:
        with Standstill() as standstill:
            trained, scored = once()
        ended = [one.reason for one in trained if one.outside]
        if standstill.is_void:
            why = f"the machine was suspended, or stood still for {standstill.seconds:.0f} s"
        elif ended and may_be_outside:
            why, may_be_outside = f"it was ended from outside ({ended[0]})", False
        else:
            return trained, scored
        if cancel is not None and cancel.is_set():
            return trained, scored
        if on_event is not None:
            on_event({"event": "note", "text": f"void, and done again: {why}"})
