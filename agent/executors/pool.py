"""An executor over processes that measure elsewhere, each on a device of its own.

A work is given to one that is idle. What a lost process had under way is done again, by itself when
it has been started anew, or by another: a measurement has no effect before its result is there.
What ends several is given up as failed, so that a run goes on without it; a place that goes with
its process, as a node that is taken away, says nothing of what it measured.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from agent.executors import messages
from agent.executors.base import Work
from agent.executors.local import Local
from trainer.data.prepare import held
from trainer.errors import UserError
from trainer.measure import AuditResult, CheckResult, Measurement, Profile, Watch
from trainer.training.job import OnEvent

MOST_LOST = 3
"""Processes that one work may end where their places are still there."""
LOOK_SECONDS = 0.1
"""How often a conversation that is silent looks whether it is cancelled."""
CANCEL_SECONDS = 60.0
"""After which one that does not end when it is cancelled is given up."""
RENEW_SECONDS = 5.0
"""How often it is looked which processes there are, where they may change."""


class Lost(Exception):
    """The process that had a work is gone; the message says which one, and how it ended."""


class Link(ABC):
    """A conversation with one process that measures. All its methods may raise ``Lost``."""

    name: str
    """In a sentence: ``worker 2``."""
    is_gone = False
    """Whether its place is lost as well, so that no process can be started there again."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        """Sources that it has had: what it has compiled of them is lent to their trainings."""

    @abstractmethod
    def start(self) -> None:
        """See that the process is there; one that is gone is started again."""

    @abstractmethod
    def send(self, message: dict[str, Any]) -> None: ...

    @abstractmethod
    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None if there is none in time."""

    @abstractmethod
    def close(self) -> None:
        """End the process and all that it has started, for good."""

    def reset(self) -> None:
        """The same, but ``start`` is called again. Raises nothing."""
        self.close()

    def ship(self, work: Work) -> dict[str, Any]:
        """The work as it is sent, with paths that hold where it is measured."""
        return messages.of_work(work)

    def bring(self, work: Work) -> None:  # noqa: B027  most have nothing to bring
        """Bring the weights of a work that is done to where they were asked for."""


class Pool:
    """Gives each work to an idle process."""

    def __init__(self, links: list[Link]) -> None:
        self._links, self._idle = links, list(links)
        self._change = threading.Condition()
        self._closed = False

    @property
    def slots(self) -> int:
        return len(self._links)

    def run(
        self,
        work: Work,
        *,
        on_event: OnEvent,
        cancel: threading.Event,
        watch: Watch | None = None,
    ) -> Any:
        """As of ``Executor``.

        What ends ``MOST_LOST`` processes has failed, and its result says so. Of a heat the champion
        is then trained alone: a candidate is at fault only where that goes well. Places that go
        are nobody's fault: so many may go as there are, and ``MOST_LOST`` more.

        Raises:
            UserError: it has ended.
        """
        why, died, gone, most_gone = "", 0, 0, len(self._links) + MOST_LOST
        while died < MOST_LOST and gone < most_gone:
            if why:
                on_event({"event": "note", "text": f"{why}: its {work.call} is done again"})
            link = self._take(work, cancel)
            if link is None:  # so little is left to do that this process can
                return Local().run(work, on_event=on_event, cancel=cancel, watch=watch)
            try:
                return converse(link, work, on_event, cancel, watch)
            except Lost as lost:
                why = str(lost)
            finally:
                self._put_back(link)
            if self._closed:
                raise UserError(f"{why}, since the run has ended")
            gone, died = gone + link.is_gone, died + (not link.is_gone)
        if died < MOST_LOST:
            why = f"{gone} places were lost while they measured it ({why})"
            return CheckResult("killed", why) if work.call == "check" else given_up(work, why)
        why = f"it has ended {MOST_LOST} processes in a row ({why}): is there enough memory for it?"
        if not (alone := champion_of(work)):
            return given_up(work, why)
        on_event({"event": "note", "text": f"{why} The champion is trained alone, to see"})
        (champion,) = self.run(alone, on_event=on_event, cancel=cancel)
        return [champion, *given_up(work, why, champion.status == "ok")[1:]]

    def close(self) -> None:
        self._closed = True
        for link in self._links:
            link.close()

    def _take(self, work: Work, cancel: threading.Event) -> Link | None:
        """Wait for an idle one; best is one that has had the sources. None: there is none at all,
        and the work is cancelled."""
        sources = set(work.sources)
        while True:
            with self._change:
                if not self._idle:
                    self._change.wait(RENEW_SECONDS)
                if self._idle:
                    link = max(self._idle, key=lambda one: len(one.known & sources))
                    self._idle.remove(link)
                    return link
            if not self._links and cancel.is_set():
                return None

    def _put_back(self, link: Link) -> None:
        """Let others have it."""
        with self._change:
            self._idle.append(link)
            self._change.notify()


def converse(
    link: Link, work: Work, on_event: OnEvent, cancel: threading.Event, watch: Watch | None
) -> Any:
    """Have a work done by the process of ``link``; events and losses come back on the way.

    Raises:
        Lost: the process is gone.
    """
    try:
        link.start()
        link.send({"work": link.ship(work), "held": held(), "watched": watch is not None})
        link.known.update(work.sources)
        found: list[dict[str, Any]] = []
        until = 0.0
        while True:
            if cancel.is_set() and not until:
                link.send({"cancel": True})
                until = time.monotonic() + CANCEL_SECONDS
            message = link.receive(LOOK_SECONDS)
            if message is None:
                if until and time.monotonic() > until:
                    raise Lost(f"{link.name} does not end what was cancelled")
            elif "event" in message:
                on_event(message["event"])
            elif "ask" in message:
                assert watch is not None
                link.send({"answer": watch(*message["ask"])})
            elif "one" in message:
                found.append(message["one"])
            elif "error" in message:
                break
            else:
                link.bring(work)
                return messages.to_result(work.call, found)
    except BaseException:  # whatever it is, nobody reads what the process goes on to say
        link.reset()
        raise
    raise messages.to_error(message["error"])


def champion_of(work: Work) -> Work | None:
    """The champion's training alone, of a heat in which there are others as well."""
    if work.call != "heat" or len(work.sources) == 1:
        return None
    each = {"seed", "trace"}
    how = {
        name: value[:1] if name in each and isinstance(value, list) else value
        for name, value in work.arguments.items()
    }
    return replace(work, sources=work.sources[:1], arguments=how, weights_to=())


def given_up(work: Work, why: str, is_edits_fault: bool = False) -> Any:
    """What comes of a work that nobody can measure.

    Args:
        is_edits_fault: whether a heat's champion can be measured alone. Several candidates have
            then lacked memory, so that each is tried again by itself; a single one has crashed.
            Else it is ``killed``, which is no fault of an edit.
    """
    if work.call == "check":  # where several in a row fail, the loop tries the champion's
        return CheckResult("crashed", why)
    if work.call == "profile":
        return Profile("killed", why)
    if work.call == "audit":
        return AuditResult(False, "killed", why, 0.0, 0.0)
    status = "killed"
    if is_edits_fault:
        status = "oom" if len(work.sources) > 2 else "crashed"
    seed = work.arguments.get("seed", 0)
    return [
        Measurement(
            status=status,
            reason=why,
            val_bpb=None,
            score_seconds=0.0,
            wall_seconds=0.0,
            seed=seed if isinstance(seed, int) else seed[number],
            isolation="",
            budget=str(work.arguments.get("budget", "")),
            preset=str(work.arguments.get("preset", "")),
            how="",
            leak_bound_bpb=0.0,
            fingerprint={},
        )
        for number in range(len(work.sources))
    ]
