"""Watch a heat while it trains, and end a candidate as soon as it is hopeless."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agent.campaign.evidence import courses
from agent.campaign.records import Training
from agent.forecast import (
    CHECKPOINTS,
    PARTS,
    RUNS_ON,
    Forecast,
    doubt_about,
    forecast,
    is_hopeless,
    so_far,
)
from agent.steps.runtime import Runtime


class HeatWatch:
    """Asked by a heat of the open trial each time that a twentieth of the budget is over."""

    def __init__(self, runtime: Runtime, champion: Training | None) -> None:
        """
        Args:
            champion: its training, if it is used again instead of being trained in the heat.
        """
        trial, state = runtime.open_trial, runtime.campaign.state
        self.forecast: Forecast | None = None
        """At which the candidate was ended; None if it was not."""
        self._trial, self._champion = trial, champion
        self._judge = runtime.make_judge(trial.kind)
        self._level = runtime.level
        self._doubt = doubt_about(trial.category, trial.hides_loss, courses(state, runtime.preset))
        name = f"{runtime.settings.seed} trial {trial.trial} runs on"
        self._runs_on = random.Random(name).random() < 1 / RUNS_ON
        self._checked = self._parts = 0

    def __call__(
        self, number: int, own: Sequence[float | None], champion: Sequence[float | None]
    ) -> str | None:
        """Why the candidate ends here, None if it goes on."""
        rival = champion or (self._champion.losses if self._champion is not None else ())
        parts = min(len(own), len(rival))
        if parts < self._parts:  # the heat was void, and is done again
            self._checked, self.forecast = 0, None
        self._parts = parts
        due = max((point for point in CHECKPOINTS if point <= parts), default=0)
        if self._doubt is None or self._runs_on or due <= self._checked:
            return None
        self._checked = due
        difference = so_far(rival, own, due)
        if difference is None:
            return None
        told = forecast(difference, due, self._judge.noise.scale, self._doubt)
        trial = self._trial
        if not is_hopeless(
            self._judge, trial.differences, told, size_delta=trial.size_delta, level=self._level
        ):
            return None
        self.forecast = told
        return f"hopeless after {due / PARTS:.0%} of a heat"
