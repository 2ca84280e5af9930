"""What a trial's heats have shown beside the champion of its time: pure functions of its record."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Literal

from agent.campaign.records import Heat, Training, Trial
from agent.forecast import CHECKPOINTS, PARTS

POINTS = 10
"""Of a curve: one by each tenth of the budget."""


def finding(trial: Trial) -> Literal["lost", "inconclusive", ""]:
    """What the heats of a reverted trial, or its forecast, say: ``lost`` if the 95 % interval of
    its gain ends below 0; else nobody knows. "" if nothing was measured or it was kept."""
    if trial.verdict != "revert" or trial.status not in ("ok", "abandoned") or trial.gain is None:
        return ""
    return "lost" if trial.gain + (trial.gain_half or 0.0) < 0 else "inconclusive"


def curve(trial: Trial) -> tuple[float | None, ...]:
    """The champion's training loss less the candidate's by tenths of the budget, bits per byte, the
    mean over the heats; positive where the candidate is ahead.

    None where nothing is known of both; empty if nothing is, or if their losses are different
    quantities.
    """
    heats = [] if trial.hides_loss else [_ahead(heat) for heat in trial.judged_heats]
    width, found = PARTS // POINTS, list[float | None]()
    for start in range(0, PARTS, width):
        known = [d for heat in heats for d in heat[start : start + width] if d is not None]
        found.append(fmean(known) if known else None)
    last = max((n for n, point in enumerate(found, 1) if point is not None), default=0)
    return tuple(found[:last])


def _ahead(heat: Heat) -> Sequence[float | None]:
    """By twentieths of the budget. The one in which a candidate was ended is left out: it is a mean
    over less of it than the champion's."""
    own, rival = heat.candidate.losses, heat.champion.losses
    if heat.candidate.status == "abandoned":
        over = max((n for n, loss in enumerate(own, 1) if loss is not None), default=0)
        own = own[: max((point for point in CHECKPOINTS if point <= over), default=0)]
    pairs = zip(rival, own, strict=False)
    return [a - b if a is not None and b is not None else None for a, b in pairs]


def pace(trial: Trial) -> tuple[float, float] | None:
    """The candidate's steps and tokens in a whole budget, as multiples of the champion's: medians
    over the heats. None where they are not known, as of a training that was ended early."""
    heats = [heat for heat in trial.heats if heat.difference is not None]
    pairs = [(_in_budget(heat.candidate), _in_budget(heat.champion)) for heat in heats]
    pairs = [(own, rival) for own, rival in pairs if all((*own, *rival))]
    if not pairs:
        return None
    steps, tokens = (median(own[i] / rival[i] for own, rival in pairs) for i in (0, 1))
    return steps, tokens


def _in_budget(run: Training) -> tuple[float, float]:
    spent = run.spent or 1.0
    return run.steps / spent, run.tokens / spent
