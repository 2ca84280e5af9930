"""What a campaign's trials have taught about noise, gains and forecasts, for the judge."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from agent.campaign.records import Kind, Trial
from agent.campaign.state import State
from agent.forecast import Course, at_checkpoints, doubt_about
from agent.judge import Judge, Noise, Rule, Spent, trial_level
from agent.noise import Spread, learn_effect, learn_noise, spread
from agent.objective import Objective, key_of
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
    guess = noise_guess(state, kind, preset)
    by = state.objective if objective is None else objective

    def learn() -> Noise:
        def serves(trial: Trial) -> bool:
            return trial.kind == kind and trial.holds_by(by)

        name = "spreads", kind, key_of(by)
        known = state.so_far.latest(name, state.finished, serves, LATEST, _spread)
        return learn_noise(known, guess)

    return state.so_far.now(("noise", kind, key_of(by), guess), learn)


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

    def serves(one: Trial) -> bool:
        return one.kind == kind and bool(one.differences) and one.holds_by(by)

    name = "effect", kind, key_of(by)
    known = state.so_far.latest(name, state.real, serves, LATEST)
    found = (one.differences for one in known)
    may_be_better = [own for own in found if len(own) > 2 or sum(own) > 0]  # others tell nothing
    return learn_effect([judge.moderated(own)[:2] for own in may_be_better], preset.effect)


def level_of(state: State, rule: Rule, number: int | None = None) -> float | None:
    """The share of false keeps that a trial may have, by those that were begun before it.

    Of those that are still open it is assumed that they spend their share, and earn nothing. Trials
    without a level had no bound to keep to, and a proven tie tested nothing: neither spends or
    earns.

    Args:
        number: of the trial; None for one after all that have a verdict.
    """
    trials, first_open = state.trials[:number], state.open_trial
    before = trials[: first_open.trial] if first_open is not None else trials
    spent = state.so_far.count("level", before, Spent(), _spends)
    past = [
        (_passed(trial), trial.kept and not trial.tie)
        for trial in trials[len(before) :]
        if not trial.is_null
        if (trial.verdict is None and number is not None) or _is_tested(trial)
    ]
    return trial_level(rule, past, spent)


def _is_tested(trial: Trial) -> bool:
    may_be = trial.level is not None and trial.proof != "same" and not trial.is_null
    return may_be and bool(trial.judged_heats)


def _passed(trial: Trial) -> bool:
    return trial.verdict is None or len(trial.judged_heats) > 1 or trial.kept


def _spends(spent: Spent, trial: Trial) -> Spent:
    """After a trial that has its verdict."""
    if not _is_tested(trial):
        return spent
    return spent.after([(_passed(trial), trial.kept and not trial.tie)])


def ceiling_mb(state: State, objective: Mapping[str, Any]) -> float | None:
    """The memory that a candidate may take by an objective; None without a limit. What was kept
    before the limit was set binds nobody, but for the champion."""
    kept, limit = state.kept[::-1], objective.get("memory_limit")
    if limit is None:
        return None
    under = itertools.takewhile(lambda t: t.objective.get("memory_limit") == limit, kept)
    peaks = [max(peaks_mb(state, trial), default=0.0) for trial in [*under] or kept[:1]]
    return Objective.of(objective).ceiling_mb(filter(None, peaks))


def peaks_mb(state: State, trial: Trial) -> list[float]:
    """The memory that each training of a trial took, if it was kept as champion, too."""
    runs = [*state.runs_of(trial), *trial.of("candidate")]
    return [run.peak_memory_mb for run in runs if run.status == "ok"]


def doubt_of(state: State, trial: Trial, preset: Preset) -> float | None:
    """The doubt with which the end of a trial's candidate may be forecast; None if it must not."""
    asked = trial.category, trial.hides_loss

    def learn() -> float | None:
        return doubt_about(*asked, courses(state, preset))

    return state.so_far.now(("doubt", *asked, key_of(state.objective)), learn)


def courses(state: State, preset: Preset) -> Sequence[Course]:
    """The heats of the latest trials that ran to their end."""
    scales = {kind: noise_of(state, kind, preset).scale for kind in get_args(Kind)}
    known = state.so_far.latest(
        "courses", state.finished, lambda trial: not trial.hides_loss, LATEST, _ends
    )
    return [
        Course(category, champion, candidate, lower_by, scales[kind], so_far)
        for heats in known
        for category, kind, (champion, candidate), lower_by, so_far in heats
    ]


def _ends(trial: Trial) -> list[tuple[Any, ...]]:
    """Of a trial's heats, but not of a proven tie, whose forecast is sure for no merit of its own:
    all that a course has but for the noise."""
    return [
        (trial.category, trial.kind, curves, lower_by, at_checkpoints(*curves))
        for heat in trial.judged_heats
        if (lower_by := heat.lower_by)
        for curves in ((heat.champion.losses, heat.candidate.losses),)
    ]
