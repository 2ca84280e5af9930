"""What the loop tells whoever watches; the terminal is one such, a test another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.campaign.records import Training, Trial
from agent.campaign.state import State


class Display(Protocol):
    """Hears of everything once, in order. It must not raise: watching never stops a campaign."""

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        """What the run is, as (label, text), before anything is trained."""
        ...

    def proposing(self, trial: Trial) -> None:
        """A category was drawn and a proposal is being asked for and checked."""
        ...

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        """A training begins; ``event`` tells how it goes on, ``trained`` how it ended."""
        ...

    def event(self, event: Mapping[str, Any]) -> None:
        """A step of a measurement, as ``trainer.measure.measure(on_event=...)`` gives it.

        ``preparing`` (stage, fraction), ``ready``, ``log`` (step, loss in nats per token, spent:
        share of the budget or None), ``scoring`` (fraction). While the run waits for its model
        or the machine, ``waiting`` (seconds left) comes about once a second.
        """
        ...

    def trained(self, training: Training) -> None:
        """The training has ended, for better or worse."""
        ...

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        """The trial is over; ``prior`` is what it taught."""
        ...

    def message(self, text: str) -> None:
        """Something that the user should know, one line."""
        ...

    def close(self) -> None:
        """The run is over; leave the terminal as it was."""
        ...
