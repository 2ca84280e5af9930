"""The interface through which the loop reports progress, to a terminal or to a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State


class Display(Protocol):
    """Receives every report once, in order. It must not raise, since that would stop a campaign."""

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        """What the run is, as (label, text), before anything is trained."""
        ...

    def proposing(self, trial: Trial) -> None:
        """A category was drawn and a proposal is being asked for and checked."""
        ...

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        """The baseline's training begins; ``event`` reports its progress, ``trained`` its end."""
        ...

    def heat(self, trial: Trial, number: int, budget: str) -> None:
        """Heat ``number``, from 0, begins; events have a ``training``: 0 champion, 1 candidate."""
        ...

    def heat_over(self, trial: Trial, heat: Heat) -> None:
        """The heat has ended, successfully or not."""
        ...

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of a measurement, as ``trainer.measure.measure`` passes it to ``on_event``.

        ``preparing`` (stage, fraction), ``ready``, ``log`` (step, loss in nats per token, spent:
        share of the budget or None), ``scoring`` (fraction). While the run waits for its model,
        ``waiting`` (seconds left) comes about once a second.
        """
        ...

    def trained(self, training: Training) -> None:
        """The baseline's training has ended, successfully or not."""
        ...

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        """The trial is over; ``prior`` holds the probabilities of the categories after it."""
        ...

    def message(self, text: str) -> None:
        """Something that the user should know, one line."""
        ...

    def close(self) -> None:
        """The run is over; restore the terminal."""
        ...
