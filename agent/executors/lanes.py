"""Lanes: threads that each bring one trial after the other to its verdict.

They share one campaign, and one *baton*: a lane holds it for all that it does, and gives it up only
while it waits for a device, a model or a person. So there is never more than one writer of journal
and git, and no step of the loop has to think of others. A run with one lane has no baton at all.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

POLL_SECONDS = 5.0
"""How often a lane that waits looks around, whatever it is told: of hundreds each look costs."""


class Lanes:
    """The baton, and who of those that lack it will soon be back."""

    def __init__(self) -> None:
        self._baton = threading.Lock()
        self._own = threading.local()
        self.quick: set[int] = set()
        """Lanes that wait for nothing slow: they will ask for a device, or be over, in a moment."""
        self.changed: Callable[[], None] = lambda: None
        """Called, by who has the baton, when there is one less of them."""
        self.handed: Callable[[int, int], None] = lambda lane, following: None
        """Called when a lane lets the next one draft."""
        self._trials: dict[int | None, int | None] = {}
        self._drafter: int | None = None
        self._waiting: list[tuple[int, threading.Condition]] = []
        self._asleep: set[threading.Condition] = set()
        self.over = self.condition()
        """Notified when a trial of some lane is over."""

    @contextlib.contextmanager
    def lane(self, number: int) -> Iterator[None]:
        """This thread is lane ``number`` in the block, and has the baton at its beginning."""
        self._own.number, self._own.has_baton = number, False
        self._take()
        self.quick.add(number)
        try:
            yield
        finally:
            self._trials.pop(number, None)
            if self._own.has_baton:
                self.over.notify_all()
                self.slow()
                self._give_up()
            self._own.number = None

    @property
    def own(self) -> int | None:
        """The number of this thread's lane; None in a run without lanes."""
        return getattr(self._own, "number", None)

    @property
    def has_begun(self) -> bool:
        """Whether it is known which trial this lane has, or that it has none."""
        return self.own is not None or None in self._trials

    @property
    def trial(self) -> int | None:
        """The number of this lane's trial, None if it has none."""
        return self._trials.get(self.own)

    @property
    def trials(self) -> set[int]:
        """The trials that some lane has."""
        return {trial for trial in self._trials.values() if trial is not None}

    def has(self, trial: int | None) -> None:
        """This lane, or the run without lanes, has this trial from now on, or none."""
        self._trials[self.own] = trial

    def forget(self) -> None:
        """This lane's trial is over."""
        self._trials.pop(self.own, None)
        if self.own is not None:
            self.over.notify_all()

    @contextlib.contextmanager
    def away(self, *, slow: bool = True) -> Iterator[None]:
        """Give up the baton in the block, in which nothing of the campaign may be touched but files
        that no other lane writes."""
        if self.own is None:
            yield
            return
        if slow:
            self.slow()
        self._give_up()
        try:
            yield
        finally:
            self._take()
            self.quick.add(self.own)

    @contextlib.contextmanager
    def drafting(self) -> Iterator[None]:
        """One lane at a time draws and proposes: proposers remember what they have read, and what
        one has drawn the next must know. It may end before the block does, by ``drafted``."""
        if self.own is None or self._drafter == self.own:
            yield
            return
        if self._drafter is None:
            self._drafter = self.own
        else:
            self._waiting.append((self.own, turn := self.condition()))
            self.until(turn, lambda: self._drafter == self.own)
        try:
            yield
        finally:
            self.drafted()

    def drafted(self) -> None:
        """This lane lets the next one draft, if it was its turn."""
        if self.own is not None and self._drafter == self.own:
            self._drafter = None
            if self._waiting:
                self._drafter, turn = self._waiting.pop(0)
                self.quick.add(self._drafter)
                self.handed(self.own, self._drafter)
                turn.notify()

    def condition(self) -> threading.Condition:
        """A condition whose lock is the baton; who has that, may notify it."""
        return threading.Condition(self._baton)

    def until(self, condition: threading.Condition, over: Callable[[], bool]) -> None:
        """Wait without the baton until ``over``, asked whenever the condition is notified."""
        if over():
            return
        assert self.own is not None, "without lanes there is nobody to wait for"
        self.slow()
        self._asleep.add(condition)
        while not over():
            condition.wait(POLL_SECONDS)
        self._asleep.discard(condition)
        self.quick.add(self.own)

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Who is no lane has the baton in the block."""
        with self._baton:
            yield

    def wake(self) -> None:
        """Have all that wait look around, as when the run is to stop."""
        for condition in (*self._asleep, self.over):
            condition.notify_all()

    def slow(self) -> None:
        """This lane begins to wait for something slow."""
        if self.own is not None:
            self.quick.discard(self.own)
            self.changed()

    def _take(self) -> None:
        self._baton.acquire()
        self._own.has_baton = True

    def _give_up(self) -> None:
        self._own.has_baton = False
        self._baton.release()
