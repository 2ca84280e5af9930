"""Tell a display what happens in a campaign that another process runs, or that was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from agent.campaign import events, reading
from agent.campaign.live import Live
from agent.campaign.records import Training
from agent.campaign.state import State
from agent.report.display import Display
from agent.report.verification import transfer_words
from trainer.untrusted import one_line


class Watched(Protocol):
    """A campaign to look at: ``campaign.following.Following``, or ``demo.Demo``."""

    tag: str
    folder: Path
    state: State
    recorded: str
    """"" or the words that say that it was recorded, to be shown with all of it."""

    def news(self) -> Iterator[events.Event]: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def live(self) -> Live | None: ...


def tell(display: Display, event: events.Event, state: State) -> None:
    """Tell a display of one event; ``state`` is the one after it."""
    trial, budget = state.trials[-1] if state.trials else None, str(state.settings.get("budget"))
    match event:
        case events.RunBegun():
            display.message(f"process {event.pid} goes on with the campaign")
        case events.RunEnded():
            display.message(f"stopped: {one_line(event.reason)}")
        case events.Waiting():
            display.message(f"waiting: {one_line(event.reason)}")
        case events.Verified():
            display.message("verified: python -m agent status")
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
            display.verdict(trial, state, reading.prior_of(state).probabilities())
