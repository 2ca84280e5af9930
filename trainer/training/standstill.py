"""Notices what spoils a measurement from outside, such as a machine that was suspended."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from trainer.errors import UserError
from trainer.results import ScoringResult
from trainer.training.job import OnEvent, Trained

TICK_SECONDS = 0.25
LONGEST_SECONDS = 5.0
"""A measurement during which nothing moved for longer is void."""

MOST_VOIDS = 3
"""In a row; a machine that swaps or is shared stands still again and again."""

MOST_OUTSIDE = 2
"""Of one measurement; beyond that it may be what the training does to this machine."""

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
    once: Callable[[], Measured],
    on_event: OnEvent | None,
    cancel: threading.Event | None,
    timed: bool,
) -> Measured:
    """Measure again what the machine has spoilt, since it says nothing of the sources.

    That is up to ``MOST_VOIDS`` times in a row if the machine stood still, and ``MOST_OUTSIDE``
    times if a training was ended from outside.

    Args:
        timed: whether the budget is one of seconds; else a standstill spoils only what has failed.

    Raises:
        UserError: the machine stands still all the time.
    """
    outside = voids = 0
    while True:
        with Standstill() as standstill:
            trained, scored = once()
        failed = {one.status for one in trained} | {one.status for one in scored} != {"ok"}
        ended = [one.reason for one in trained if one.outside]
        if standstill.is_void and (timed or failed):
            why = f"the machine was suspended, or stood still for {standstill.seconds:.0f} s"
            voids += 1
        elif ended and outside < MOST_OUTSIDE:
            why = f"it was ended from outside ({ended[0]})"
            outside += 1
        else:
            return trained, scored
        if cancel is not None and cancel.is_set():
            return trained, scored
        if voids >= MOST_VOIDS:
            raise UserError(
                f"{voids} measurements in a row are void: {why}; see that this machine does not "
                "sleep, swap, or share its processors with too much else, then run again"
            )
        if on_event is not None:
            on_event({"event": "note", "text": f"void, and done again: {why}"})
