"""What a campaign's trials have taught about noise, gains and forecasts, for the judge."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from agent.campaign.records import Kind, Trial
from agent.campaign.state import State
from agent.forecast import Course
from agent.judge import Judge, Noise, Rule, trial_level
from agent.noise import Spread, learn_effect, learn_noise, spread
from agent.objective import Objective
from trainer.presets import Preset, parse_budget

LATEST = 500
"""So many trials of a kind tell all that there is to tell, and more would only take time."""
NOISE_POWER = 0.75
"""The noise falls as the budget to the minus this: of the cpu preset the SD of a score was .0070 at
10 s, .0050 at 20 s, .0014 at 60 s (docs/training.md)."""


def noise_of(
    state: State, kind: Kind, preset: Preset, objective: Mapping[str, Any] | None = None
) -> Noise:
    """The noise of a kind of edit, from the preset and from the latest trials of an objective: of
    the one in force if none is given."""
    by = state.objective if objective is None else objective
    known = _latest(state.finished, lambda t: t.kind == kind and t.holds_by(by))
    return _learn_noise(tuple(map(_spread, known)), noise_guess(state, kind, preset))


def _latest(trials: Sequence[Trial], serves: Callable[[Trial], bool]) -> list[Trial]:
    """The last of the trials that serve, oldest first."""
    return [*itertools.islice(filter(serves, reversed(trials)), LATEST)][::-1]


_learn_noise = functools.lru_cache(maxsize=8)(learn_noise)
"""Asked for many times between two trials; of a long campaign each takes a tenth of a second."""


def noise_guess(state: State, kind: Kind, preset: Preset) -> Noise:
    """Where a campaign begins to learn the noise: the preset's guess, for the campaign's budget."""
    scale = preset.noise_numbers if kind == "numbers" else preset.noise_structure
    budget = parse_budget(str(state.settings.get("budget", preset.budget)))
    if budget.seconds is not None and preset.budget.seconds is not None:
        scale *= (preset.budget.seconds / budget.seconds) ** NOISE_POWER
    return Noise(scale, preset.noise_dof)


def _spread(trial: Trial) -> Spread:
    return spread(trial.differences, mean=0.0 if trial.is_null else None)


def effect_of(state: State, trial: Trial, preset: Preset) -> float:
    """Standard deviation of the true gains of a trial's kind of edit, bits per byte."""
    kind, by = trial.kind, trial.objective
    judge = Judge("confirm", noise_of(state, kind, preset, by))
    known = _latest(state.real, lambda t: t.kind == kind and bool(t.differences) and t.holds_by(by))
    return learn_effect([judge.moderated(t.differences)[:2] for t in known], preset.effect)


def level_of(state: State, rule: Rule, number: int | None = None) -> float | None:
    """The share of false keeps that a trial may have, by those that were begun before it.

    Of those that are still open it is assumed that they spend their share, and earn nothing. Trials
    without a level had no bound to keep to, and a proven tie tested nothing: neither spends or
    earns.

    Args:
        number: of the trial; None for one after all that have a verdict.
    """
    past = [
        (
            trial.verdict is None or len(trial.judged_heats) > 1 or trial.kept,
            trial.kept and not trial.tie,
        )
        for trial in state.trials[:number]
        if not trial.is_null
        if (trial.verdict is None and number is not None)
        or (trial.level is not None and trial.judged_heats and trial.proof != "same")
    ]
    return trial_level(rule, past)


def ceiling_mb(state: State, objective: Mapping[str, Any]) -> float | None:
    """The memory that a candidate may take by an objective; None without a limit. What was kept
    before the limit was set binds nobody, but for the champion."""
    kept, limit = [t for t in reversed(state.real) if t.kept], objective.get("memory_limit")
    under = itertools.takewhile(lambda t: t.objective.get("memory_limit") == limit, kept)
    peaks = [max(peaks_mb(state, trial), default=0.0) for trial in [*under] or kept[:1]]
    return Objective.of(objective).ceiling_mb(filter(None, peaks))


def peaks_mb(state: State, trial: Trial) -> list[float]:
    """The memory that each training of a trial took, if it was kept as champion, too."""
    runs = [*state.runs_of(trial), *trial.of("candidate")]
    return [run.peak_memory_mb for run in runs if run.status == "ok"]


def courses(state: State, preset: Preset) -> Sequence[Course]:
    """The heats of the latest trials that ran to their end."""
    scales = {kind: noise_of(state, kind, preset).scale for kind in get_args(Kind)}
    return [
        Course(
            category=trial.category,
            champion=heat.champion.losses,
            candidate=heat.candidate.losses,
            difference=heat.lower_by,
            scale=scales[trial.kind],
        )
        for trial in _latest(state.finished, lambda t: not t.hides_loss)
        for heat in trial.judged_heats
        if heat.lower_by  # not of a proven tie, whose forecast is sure for no merit of its own
    ]
