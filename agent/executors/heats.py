"""Gives out the devices, and makes one heat of what several lanes want to train on one champion.

The champion's training is then paid for once. A heat does not wait for a draft that a model has yet
to write; it does wait for a lane that is between two steps, since that takes a moment.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.executors.base import Executor, Work
from agent.executors.lanes import Lanes
from agent.executors.local import Local
from trainer.measure import Watch
from trainer.training.job import OnEvent


@dataclass(eq=False)
class Seat:
    """What one trial wants of the next heat, and what it has got."""

    trial: int
    champion: str
    """Full hash of the commit that it is to meet."""
    seeds: tuple[int, ...] | None
    """Those of a heat that was cut off, which only trials of that heat can share; empty: some that
    it can share with nobody; None: whatever is fresh."""
    stays: bool
    """Whether it meets that commit even when another is champion."""
    first: bool
    """Whether its trial is under way, and goes before those that have yet to begin."""
    lane: int | None
    changed: threading.Condition
    awaited: set[int] = field(default_factory=set)
    """Lanes that were about to come when it was taken, and have not yet."""
    company: list[Seat] = field(default_factory=list)
    """Of who leads the heat: all of it, itself first; empty until it is begun."""
    is_gone: bool = False
    """Whether another champion has come, so that there is nothing to train any more."""
    outcome: Any = None
    """Of who does not lead: what the leader has found for it, or the error that it met."""

    @property
    def is_alone(self) -> bool:
        return self.seeds == ()

    @property
    def is_settled(self) -> bool:
        return bool(self.company) or self.is_gone or self.outcome is not None


class Devices:
    """All that is measured goes through here. Only who has the baton may call its methods."""

    def __init__(self, executor: Executor | None = None, lanes: Lanes | None = None) -> None:
        self.executor: Executor = executor or Local()
        self.lanes = lanes or Lanes()
        self.lanes.changed = self._give_out
        self.lanes.handed = self._await_as_well
        self.room = 1
        """Candidates that the next heat can take."""
        self.find_room: Callable[[], int] | None = None
        """What tells how many that are, while nothing is measured, so that memory is free."""
        self._taken = 0
        self._champion = ""
        self._urgent: dict[threading.Condition, float] = {}
        self._best: threading.Condition | None = None
        """Who of those of a finite worth has a device: the next waits for what comes of it."""
        self._granted: set[threading.Condition] = set()
        self._seats: list[Seat] = []
        self._back: set[int] = set()
        """Lanes whose heat is just over. What they want next comes first: perhaps an audit, after
        which there is another champion."""

    def run(
        self,
        work: Work,
        *,
        on_event: OnEvent,
        cancel: threading.Event,
        watch: Watch | None = None,
        worth: float = math.inf,
        is_vain: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Run one work on a device that is free, before any heat; see ``Executor``.

        Args:
            worth: of several works of a finite one, which wait for all that were in a heat, the one
                that is worth most is first.
            is_vain: asked when the device is there; if so, nothing is run, and this is None.
        """
        with self._device(cancel, worth):
            if is_vain():
                return None
            slow = work.call != "check"
            return self.run_here(work, on_event=on_event, cancel=cancel, watch=watch, slow=slow)

    def run_here(
        self,
        work: Work,
        *,
        on_event: OnEvent,
        cancel: threading.Event,
        watch: Watch | None = None,
        slow: bool = True,
        then: Callable[[Any], None] = lambda _: None,
    ) -> Any:
        """Run one work on the device that this lane has; see ``Executor``.

        Args:
            then: gets what was found, before the baton is taken again.
        """
        with self.lanes.away(slow=slow):
            found = self.executor.run(work, on_event=on_event, cancel=cancel, watch=watch)
            then(found)
        return found

    @contextlib.contextmanager
    def heat(
        self,
        trial: int,
        champion: str,
        cancel: threading.Event,
        *,
        seeds: tuple[int, ...] | None = None,
        stays: bool = False,
        first: bool = False,
    ) -> Iterator[Seat]:
        """A seat of the next heat of ``champion``; the block is entered when it is settled.

        Who leads has a device in the block, and has to give every other seat its outcome there;
        those that get none get its error. The arguments are as of ``Seat``.
        """
        seat = Seat(trial, champion, seeds, stays, first, self.lanes.own, self.lanes.condition())
        if seat.lane is None:
            seat.company = [seat]
            yield seat
            return
        seat.awaited = self.lanes.quick - {self.lanes.own}
        self._seats.append(seat)
        self.lanes.until(seat.changed, lambda: seat.is_settled or self._is_over(seat, cancel))
        is_old = self._champion not in ("", seat.champion)
        if is_old and not all(one.stays for one in seat.company):  # it came just now
            for one in seat.company:
                one.is_gone = True
        try:
            yield seat
        except BaseException as error:
            for other in seat.company[1:]:
                other.outcome = other.outcome or error
            raise
        finally:
            if seat in self._seats:
                self._seats.remove(seat)
            for one in seat.company:
                if one.lane is not None:
                    self.lanes.quick.add(one.lane)
                    self._back.add(one.lane)
                one.changed.notify()
            self._taken -= bool(seat.company)
            self._give_out()

    def champion_is(self, commit: str) -> None:
        """There is a new champion: seats of another one's heats are of no use now."""
        self._champion = commit
        for seat in [s for s in self._seats if s.champion != commit and not s.stays]:
            self._seats.remove(seat)
            seat.is_gone = True
            seat.changed.notify()

    def concluded(self) -> None:
        """This lane's trial has its verdict: no heat waits for what it wants next."""
        if self.lanes.own is not None:
            self._back.discard(self.lanes.own)
            self._give_out()

    def look(self) -> None:
        """Give out what has come meanwhile, such as a node; for who has the baton and no lane."""
        self._give_out()

    def see_room(self) -> int:
        """Candidates that the next heat can take, as far as can be seen now."""
        if self.find_room is not None and not self._taken:
            self.room = self.find_room()
        return self.room

    def _await_as_well(self, lane: int, following: int) -> None:
        """Who waits for a lane to come also waits for the one that drafts after it, as several
        ideas of one reply do."""
        for seat in self._seats:
            if lane in seat.awaited:
                seat.awaited.add(following)

    def _is_over(self, seat: Seat, cancel: threading.Event) -> bool:
        """Whether the run is to stop and nobody is training this seat's candidate."""
        return cancel.is_set() and seat in self._seats

    @contextlib.contextmanager
    def _device(self, cancel: threading.Event, worth: float) -> Iterator[None]:
        """A device that is free, which is waited for."""
        if self.lanes.own is None:
            yield
            return
        self._back.discard(self.lanes.own)
        wanted = self.lanes.condition()
        self._urgent[wanted] = worth
        self._give_out()
        while wanted not in self._granted and not cancel.is_set():
            wanted.wait(1.0)
        has_one = wanted in self._granted
        self._granted.discard(wanted)
        if not has_one:
            del self._urgent[wanted]
        try:
            yield  # where the run is to stop, what is measured ends at once
        finally:
            self._taken -= has_one
            if self._best is wanted:
                self._best = None
            self._give_out()

    def _give_out(self) -> None:
        """Give each device that is free to who is next."""
        self._back &= self.lanes.quick
        for seat in self._seats:
            seat.awaited &= self.lanes.quick
        while self._taken < self.executor.slots:
            if wanted := self._most_urgent():
                if self._urgent.pop(wanted) != math.inf:
                    self._best = wanted
                self._granted.add(wanted)
                wanted.notify()
            elif not self._back and (company := self._next_heat()):
                self._seats = [seat for seat in self._seats if seat not in company]
                company[0].company = company
                company[0].changed.notify()
            else:
                return
            self._taken += 1

    def _most_urgent(self) -> threading.Condition | None:
        """Who of those that wait for no heat is next; None if nobody can be told yet."""
        at_once = (wanted for wanted, worth in self._urgent.items() if worth == math.inf)
        if (first := next(at_once, None)) is not None or self._back or self._best:
            return first
        return max(self._urgent, key=lambda wanted: self._urgent[wanted], default=None)

    def _next_heat(self) -> list[Seat]:
        """The seats of the heat that can begin now, none if none can."""
        seats, room = sorted(self._seats, key=lambda seat: not seat.first), 0
        for first in seats:
            room = room or self.see_room()
            of = first.champion, first.seeds
            alike = [s for s in seats if (s.champion, s.seeds) == of]
            company = [first] if first.is_alone else alike[:room]
            if len(company) >= room or first.is_alone or not first.awaited:
                return company
        return []
