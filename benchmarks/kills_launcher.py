"""Runs ``python -m agent`` and kills it, or processes that it has started, at exact moments.

    KILL='[{"event": 12, "side": "before"}]' python -m benchmarks.kills_launcher run --tag t ...

Moments: ``event``, the event of this number that this run records, from 0, before or after it is on
disk (``side``); ``kind``, the same of the next event of that name; ``step``, so many
changes of files and starts of programs since this run's first event; ``report``, so many reports of
trainings, scorings and audits; ``seconds`` since this process began, the only one by the clock. The
first of those given that comes counts. Victims: ``parent``, this process; ``group``, its process
group; ``tree``, it and all below it; ``child``, one of all below it, by
number, but no process that may run a candidate. After the death of
a child the run goes on, to the next moment of the list. What was killed is written to the file
``KILLED``, a line each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from agent import cli
from agent.campaign.journal import Journal
from trainer import measure

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "subprocess.Popen"}
"""What Python tells audit hooks of, beside files that are opened to be written."""


def runs_a_candidate(process: psutil.Process) -> bool:
    """Whether it may: that its death is not held against the source would be a door for cheats.

    So it is below a fork server, which is itself a fork of its starter.
    """
    with contextlib.suppress(psutil.Error):
        lines = [one.cmdline() for one in [process, *process.parents()[:2]]]
        return lines[0] == lines[1] == lines[2]
    return False


class Killer:
    """Counts moments, and kills when the one that is due has come."""

    def __init__(self, kills: list[dict[str, Any]]) -> None:
        self.kills = kills
        self.events = self.steps = self.reports = 0
        self.told = os.open(os.environ.pop("KILLED"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @property
    def due(self) -> dict[str, Any]:
        return self.kills[0] if self.kills else {}

    def wait(self) -> None:
        """Until the time of each kill that has one, in a thread of its own."""
        began = time.monotonic()
        for kill in [kill for kill in self.kills if "seconds" in kill]:
            time.sleep(max(0.0, began + kill["seconds"] - time.monotonic()))
            if kill is self.due:
                self.strike()

    def strike(self) -> None:
        kill, self.steps, self.reports = self.kills.pop(0), 0, 0
        below = psutil.Process().children(recursive=True)
        victim = kill.get("victim", "parent")
        if victim == "child":
            below = [process for process in below if not runs_a_candidate(process)]
        if victim == "child" and not below:
            return
        os.write(self.told, json.dumps(kill).encode() + b"\n")
        if victim == "child":
            below[kill["child"] % len(below)].kill()
            return
        if victim == "tree":
            for process in below:
                process.kill()
        if victim == "group":
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def append(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """``Journal.append`` with the moments around it."""

        def appended(journal: Journal, event: Any) -> Any:
            is_due = self.events >= self.due.get("event", sys.maxsize)
            is_due |= event.event == self.due.get("kind")
            is_before = is_due and self.due["side"] == "before"
            if is_before:
                self.strike()
            written = inner(journal, event)
            if is_due and not is_before:
                self.strike()
            self.events += 1
            return written

        return appended

    def hear(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: something is about to change a file or to start a program."""
        if not (self.events and "step" in self.due):
            return
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if writes or name in CHANGES:
            self.steps += 1
            if self.steps == self.due["step"]:
                self.strike()

    def reporting(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """``measure.heat`` or ``measure.audit``, with the moments of their reports."""

        def measured(*args: Any, on_event: Callable[..., Any], **options: Any) -> Any:
            def hear(event: dict[str, Any]) -> None:
                self.reports += 1
                if self.reports == self.due.get("report"):
                    self.strike()
                on_event(event)

            return inner(*args, on_event=hear, **options)

        return measured


def main() -> None:
    killer = Killer(json.loads(os.environ.pop("KILL")))
    Journal.append = killer.append(Journal.append)  # type: ignore[method-assign]
    measure.heat = killer.reporting(measure.heat)
    measure.audit = killer.reporting(measure.audit)
    sys.addaudithook(killer.hear)
    threading.Thread(target=killer.wait, daemon=True).start()
    cli.main()


if __name__ == "__main__":
    main()
