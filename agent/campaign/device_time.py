"""Where a campaign's time goes: from when its events happened, and how long its trainings took.

Each moment between two events counts for what was going on. While a heat is under way its device
is taken, whatever else is done meanwhile; the time of a device that is free is lost to the first
cause that holds. What was under way when a run was killed counts as stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent.campaign import events
from agent.campaign.records import NULL, Training

Cause = Literal[
    "drafting",  # an edit, where that was waited for
    "checks",  # of a proposal, before any budget is spent
    "waiting for a model",  # that does not answer
    "paused",
    "start-up",  # of a run, up to its first trial
    "starting trainings",  # until they are ready for data, or fail: mostly their train.py's work
    "around trainings",  # within heats, what is left
    "verifying",  # what was kept
    "bookkeeping",  # choosing what to try next, verdicts, git
    "no trial",  # for this device, while others train
    "stopped",  # no run
]
Clock = Mapping[str, Any]
"""Plain JSON, as a snapshot keeps it. ``at``: Unix seconds of the last event. ``running``: whether
a run is under way, ``begun`` whether it has come to a trial. ``doing``: by trial ``drafting``,
``checks`` or ``heat``, ``since`` when a heat is under way, ``seeds``: the champion's in it.
``waiting``: whether a model is away. ``seconds``: by cause, and in ``heats`` and ``audits``.
``slots``: how many works are measured at once. ``trained``: trained and scored in heats, on all
devices together; ``busy``: the same for the mean of them; ``starting``: what the starts of these
trainings took, for the mean of all devices. ``hidden``: drafted while a heat or an audit was under
way. ``idle``: seconds by cause since all devices were taken last."""
NEW: Clock = {
    "at": 0.0,
    "running": False,
    "begun": False,
    "doing": {},
    "since": {},
    "seeds": {},
    "waiting": False,
    "seconds": {},
    "slots": 1,
    "trained": 0.0,
    "busy": 0.0,
    "starting": 0.0,
    "hidden": 0.0,
    "idle": {},
}


@dataclass(frozen=True)
class DeviceTime:
    """Seconds of a campaign up to its last event; of several devices, for the mean of them."""

    running: float
    """Of all its runs."""
    busy: float
    """Training or scoring."""
    lost: Mapping[Cause, float]
    """All others, and those between two runs; causes that cost nothing are left out."""
    hidden: float
    """Of drafting while the device was taken."""
    trained: float
    """Training or scoring, on all devices together."""

    @property
    def busy_share(self) -> float | None:
        """Of the time that runs were under way and not paused; None before the first."""
        wanted = self.running - self.lost.get("paused", 0.0)
        return min(1.0, self.busy / wanted) if wanted > 0 else None

    def an_hour(self, count: int) -> float | None:
        """So many in this time, an hour of runs; None before the first."""
        return 3600 * count / self.running if self.running > 0 else None


def device_time(clock: Clock) -> DeviceTime:
    seconds: dict[str, float] = dict(clock["seconds"])
    taken, audits = seconds.pop("heats", 0.0), seconds.pop("audits", 0.0)
    busy = min(taken, clock["busy"])
    starting = min(taken - busy, clock.get("starting", 0.0))
    lost: dict[Any, float] = {**seconds, "starting trainings": starting}
    lost["around trainings"] = taken - busy - starting
    running = taken + audits + sum(seconds.values()) - seconds.get("stopped", 0.0)
    told = {cause: round(lost[cause], 3) for cause in lost if lost[cause] > 0}
    return DeviceTime(running, busy + audits, told, clock["hidden"], clock["trained"] + audits)


def after(clock: Clock, event: events.Event) -> Clock:
    """The clock after one more event."""
    new = {**clock, "doing": dict(clock["doing"]), "since": dict(clock["since"])}
    new |= {"seconds": dict(clock["seconds"]), "seeds": dict(clock.get("seeds", {}))}
    passed = max(0.0, event.time - clock["at"]) if clock["at"] else 0.0  # it may be set back
    new["idle"] = dict(clock.get("idle", {}))
    parts = _parts(clock, event, passed)
    for cause, part in parts:
        new["seconds"][cause] = new["seconds"].get(cause, 0.0) + part
        new["idle"][cause] = new["idle"].get(cause, 0.0) + part
        if cause == "heats" and "drafting" in clock["doing"].values():
            new["hidden"] += part
        if cause == "audits" and isinstance(event, events.Audited):
            _took(new, event.audit.seconds / clock["slots"] - part)
    if {cause for cause, _ in parts} <= {"heats", "audits"}:
        new["idle"] = {}
    new["at"] = event.time
    _note(new, event)
    return new


def _parts(clock: Clock, event: events.Event, passed: float) -> list[tuple[str, float]]:
    """What the time since the last event counts for."""
    doing, slots = clock["doing"], clock["slots"]
    if isinstance(event, events.RunBegun) or not clock["running"]:
        return [("stopped", passed)]
    seeds = clock.get("seeds", {})
    heats = {seeds.get(trial, trial) for trial, what in doing.items() if what == "heat"}
    count = min(len(heats), slots)
    taken = {"heats": count}
    if isinstance(event, events.Audited | events.Proved):
        taken["audits"] = min(1, slots - count)
    if count or "audits" in taken:
        left = {_cause(clock, "no trial"): slots - sum(taken.values())}
        return [(cause, passed * k / slots) for cause, k in (taken | left).items() if k]
    if isinstance(event, events.Paused):
        paused = min(passed, event.seconds)
        return [("paused", paused), ("bookkeeping", passed - paused)]
    if isinstance(event, events.Opened | events.Verified | events.Transferred | events.Harvested):
        return [("verifying", passed)]
    return [(_cause(clock, "bookkeeping" if clock["begun"] else "start-up"), passed)]


def _cause(clock: Clock, usual: Cause) -> str:
    """The cause for which a device that has nothing to train loses its time."""
    if clock["waiting"]:
        return "waiting for a model"
    doing = clock["doing"].values()
    return next((cause for cause in ("checks", "drafting") if cause in doing), usual)


def _took(clock: dict[str, Any], seconds: float) -> None:
    """The audit had the device for this long before the event that came last: others were drafted
    meanwhile, and their time was no loss."""
    for cause in ("drafting", "checks", "bookkeeping", "no trial"):
        part = min(max(seconds, 0.0), clock["idle"].get(cause, 0.0))
        clock["seconds"][cause] = clock["seconds"].get(cause, 0.0) - part
        clock["seconds"]["audits"] += part
        clock["hidden"] += part if cause == "drafting" else 0.0
        seconds -= part


def _note(clock: dict[str, Any], event: events.Event) -> None:
    """What is going on after an event."""
    match event:
        case events.RunBegun():
            clock |= {"running": True, "begun": False, "doing": {}, "since": {}, "waiting": False}
            clock["seeds"] = {}
            clock["slots"] = event.slots or int(event.settings.get("workers") or 1)
        case events.RunEnded():
            clock |= {"running": False, "doing": {}, "since": {}, "waiting": False}
        case events.TrialBegun():
            clock |= {"begun": True, "waiting": False}
            if event.category != NULL and event.trial > 0:
                clock["doing"][str(event.trial)] = "drafting"
        case events.Waiting():
            clock["waiting"] = True
        case events.Asking():
            clock["waiting"] = False
            clock["doing"][str(event.trial)] = "drafting"
        case events.Proposed():
            clock["waiting"] = False
            clock["doing"][str(event.trial)] = "checks"
        case events.TurnedDown() | events.SentBack():
            clock["doing"][str(event.trial)] = "drafting"
        case events.TrainingBegun() | events.HeatBegun():
            clock["doing"][str(event.trial)] = "heat"
            clock["since"][str(event.trial)] = event.time
            if isinstance(event, events.HeatBegun):
                clock["seeds"][str(event.trial)] = event.seeds[0]
        case events.TrainingOver():
            _end(clock, event.training.trial, event.time, (event.training,))
        case events.HeatOver():
            _end(clock, event.trial, event.time, event.trainings)
        case events.CandidateMade() | events.Concluded():
            clock["doing"].pop(str(event.trial), None)
            if isinstance(event, events.Concluded):
                clock["slots"] = event.slots or clock["slots"]
        case _:
            pass


def _end(clock: dict[str, Any], trial: int, now: float, trainings: Iterable[Training]) -> None:
    """A heat is over. What its trainings took is not in journals of earlier versions: of these all
    of the heat counts as busy."""
    new = [one for one in trainings if not one.reused]
    since = clock["since"].pop(str(trial), now)
    clock["seeds"].pop(str(trial), None)
    clock["doing"].pop(str(trial), None)
    if any(one.score_seconds is None for one in new):
        spent = max(0.0, now - since)
    else:
        spent = sum(one.train_seconds + (one.score_seconds or 0.0) for one in new)
        starting = sum(one.startup_seconds for one in new) / clock["slots"]
        clock["starting"] = clock.get("starting", 0.0) + starting
    clock["trained"] += spent
    clock["busy"] += spent / clock["slots"]
