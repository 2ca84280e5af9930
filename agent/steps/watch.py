"""Watch a heat while it trains, and end a candidate as soon as it is hopeless."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from agent.campaign.evidence import doubt_of
from agent.campaign.records import Training, Trial
from agent.forecast import (
    CHECKPOINTS,
    PARTS,
    RUNS_ON,
    Forecast,
    forecast,
    is_hopeless,
    so_far,
)
from agent.objective import Objective
from agent.steps.runtime import Runtime
from trainer.measure import Watch
from trainer.presets import parse_budget


def watch_all(watches: Sequence[HeatWatch | None]) -> Watch | None:
    """What a heat asks of all its candidates: each by its own watch, None for who is not watched.

    Who is hopeless ends, and the turns that are left are the others': successive halving (Jamieson
    and Talwalkar, 2016), with the forecast of each paired curve in place of a rank.
    """
    if not any(watches):
        return None

    def watch(
        number: int, own: Sequence[float | None], champion: Sequence[float | None]
    ) -> str | None:
        asked = watches[max(0, number - 1)]  # without its champion a candidate is the first
        return asked(number, own, champion) if asked is not None else None

    return watch


class HeatWatch:
    """Asked of a trial's candidate by a heat, each time that a twentieth of the budget is over."""

    def __init__(self, runtime: Runtime, trial: Trial, champion: Training | None) -> None:
        """
        Args:
            champion: its training, if it is used again instead of being trained in the heat.
        """
        state = runtime.campaign.state
        self.forecast: Forecast | None = None
        """At which the candidate was ended; None if it was not."""
        self._trial, self._champion = trial, champion
        self._judge = runtime.make_judge(trial.kind, trial)
        self._level = runtime.level_of(trial)
        self._doubt = doubt_of(state, trial, runtime.preset)
        name = f"{runtime.settings.seed} trial {trial.trial} runs on"
        self._objective = Objective.of(trial.objective)
        self._by_clock = parse_budget(runtime.settings.budget).seconds is not None
        rival = runtime.rival(trial)
        runs = [*rival.of("candidate"), *state.runs_of(rival)]
        self._usual = next((run for run in reversed(runs) if run.val_bpb is not None), None)
        self._runs_on = random.Random(name).random() < 1 / RUNS_ON
        self._checked = self._parts = 0

    def _worth(self, share: float, lower_by: float) -> float:
        """The most that a difference of the scores can come to: if the candidate ends now, and
        takes no memory, and of so many tokens no time. For all that is known it will."""
        if self._objective.is_score:
            return lower_by
        usual, cost = self._usual, self._objective.cost
        assert usual is not None, "who is champion has a score"
        bpb = usual.val_bpb or 0.0
        seconds = usual.train_seconds * share / max(usual.spent, share) if self._by_clock else 0.0
        at_best = replace(usual, peak_memory_mb=0.0, train_seconds=seconds, spent=share)
        return cost(bpb, usual) - cost(bpb - lower_by, at_best)

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
        trial, worth = self._trial, partial(self._worth, due / PARTS)
        how: dict[str, Any] = {"size_delta": trial.size_delta, "level": self._level, "worth": worth}
        if not is_hopeless(self._judge, trial.differences, told, **how):
            return None
        self.forecast = replace(told, mean=worth(told.mean))
        return f"hopeless after {due / PARTS:.0%} of a heat"
