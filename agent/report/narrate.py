"""Tell a display what happens in a campaign that another process runs, or that was recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from agent.campaign import events, reading
from agent.campaign.live import Live
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.report.display import Display
from agent.report.verification import one_line_of, transfer_words
from trainer.untrusted import one_line

LOOK_SECONDS = 0.25
"""How often it is looked whether something has happened."""


class Watched(Protocol):
    """A campaign to look at: ``campaign.following.Following``, or ``recorded.Recorded``."""

    tag: str
    folder: Path
    state: State
    recorded: str
    """The words that say that it was recorded, to be shown with all of it; "" if it happens now."""

    def news(self) -> Iterator[events.Event]:
        """What has happened since; ``state`` is the one after the event that was yielded last."""

    @property
    def pid(self) -> int | None:
        """Of the run under way."""

    @property
    def live(self) -> Live | None:
        """What it does at this moment."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen for now."""


def narrate(
    watched: Watched, display: Display, wait: Callable[[float], object] = time.sleep
) -> None:
    """Show a campaign until nothing more happens, or nobody looks any more."""
    display.attach(watched.tag, watched.state, watched.pid, watched.recorded)
    while True:
        is_over = watched.is_over  # asked first, so that the last events are told
        for event in watched.news():
            tell(display, event, watched.state)
        if (live := watched.live) is not None:
            display.show(live)
        if is_over or display.is_lost:
            return
        wait(LOOK_SECONDS)


def tell(display: Display, event: events.Event, state: State) -> None:
    """Tell a display of one event; ``state`` is the one after it."""
    trial, budget = _trial_of(event, state), str(state.settings.get("budget"))
    match event:
        case events.RunBegun():
            display.message(f"process {event.pid} goes on with the campaign")
        case events.RunEnded():
            display.message(f"stopped: {event.reason}")
        case events.Waiting():
            display.message(f"waiting: {event.reason}")
        case events.Verified():
            display.message(one_line_of(state.verified) or "verified")
        case events.Transferred():
            display.message(transfer_words(state.trials[event.transfer.trial]))
        case _ if trial is None:
            pass
        case events.TrialBegun() if trial.trial > 0 and not trial.is_null:
            display.proposing(trial)
        case events.TurnedDown() | events.SentBack():
            display.message(f"turned down: {one_line(event.reason)}")
        case events.TrainingBegun():
            begun = Training(trial.trial, "candidate", trial.candidate, event.seed, "begun")
            display.training(trial, begun, budget)
        case events.TrainingOver():
            display.trained(event.training)
        case events.HeatBegun():
            display.heat(trial, event.heat, budget)
        case events.HeatOver() if trial.heats:
            display.heat_over(trial, trial.heats[-1])
        case events.Concluded():
            display.verdict(trial, state, reading.shares_of(state))


def _trial_of(event: events.Event, state: State) -> Trial | None:
    """The trial that an event is of; None if it is of none."""
    if isinstance(event, events.OfTrial) and event.trial < len(state.trials):
        return state.trials[event.trial]
    return state.trials[event.training.trial] if isinstance(event, events.TrainingOver) else None
