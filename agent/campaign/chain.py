"""The cost that people see over a campaign: the baseline's mean, less the gains of what was kept.

It is val_bpb unless program.md names another objective; ``State.objectives`` says what is summed.

Scores that were measured hours apart compare the machine, too. Differences within a heat do not, so
the champions are chained by their gains, and a slow hour cannot bend the chart.
"""

from __future__ import annotations

import math
from statistics import fmean

from agent.campaign.evidence import noise_of
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.judge import Estimate, Judge, Noise
from agent.objective import Objective
from trainer.presets import Preset


def chain(state: State, preset: Preset) -> dict[int, Estimate]:
    """By number: the cost of the baseline and of each trial that has a gain; null trials apart.

    Trials of the version before heats have the score that they were judged by.
    """
    found: dict[int, Estimate] = {}
    champion: Estimate | None = None
    costs: dict[str, Estimate] = {}  # by commit: one that was reverted may have met an older one
    for trial in state.real:
        value = None
        if trial.trial == 0:
            value = _measured(state, trial, preset, with_heats=True)
        elif not trial.heats:
            value = _measured(state, trial, preset, with_heats=False)
        elif champion is not None and trial.gain is not None:
            rival, half = costs.get(trial.parent, champion), trial.gain_half or 0.0
            half = math.hypot(rival.half, half) if trial.kept else half
            value = Estimate(rival.mean - trial.gain, half)
        if value is not None:
            found[trial.trial] = value
        if value is not None and trial.kept:
            champion = costs[trial.commit] = value
    return found


def baseline_and_best(state: State, preset: Preset) -> tuple[Estimate | None, Estimate | None]:
    """The cost of the baseline and of the champion; None while nothing is measured."""
    values, champion = chain(state, preset), state.champion
    return values.get(0), values.get(champion.trial) if champion is not None else None


def mean_score(scores: list[float], noise: Noise) -> Estimate:
    """Mean val_bpb with its interval, of no width for a single score.

    Args:
        noise: of a difference of two scores.
    """
    if len(scores) == 1:
        return Estimate(scores[0], 0.0)
    judge = Judge("confirm", Noise(noise.scale / math.sqrt(2), noise.dof))
    return Estimate(fmean(scores), judge.gain(scores).half)


def _measured(state: State, trial: Trial, preset: Preset, *, with_heats: bool) -> Estimate | None:
    runs = [run for run in state.runs_of(trial) if with_heats or run.heat is None]
    cost = Objective.of(trial.objective).cost
    scores = [cost(run.val_bpb, run) for run in runs if run.counted and run.val_bpb is not None]
    if not scores and trial.val_bpb is not None:
        return Estimate(trial.val_bpb, trial.val_bpb_half or 0.0)
    return mean_score(scores, noise_of(state, "structure", preset)) if scores else None
