"""Which candidates are abandoned within a heat, replayed on recorded losses with planted gains.

A null heat's losses and scores are those of an edit that does nothing. Shifted by a known gain,
from the first loss to the score, they stand for an edit that is worth that much.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from agent.forecast import (
    CHECKPOINTS,
    PARTS,
    Course,
    forecast,
    is_hopeless,
    learn_doubt,
    so_far,
)
from agent.judge import Judge, Noise
from benchmarks.heats_analysis import Reading, Training, heat_of, is_sound, null_heats
from benchmarks.heats_keeps import KINDS, known_noise

GAINS = (-16.0, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""In scales of the noise."""


def courses(readings: Sequence[Reading], kind: str, scale: float) -> list[Course]:
    """Losses and difference of each sound null heat, in bits per byte."""
    found = []
    for heat in [heat_of(r) for r in readings if r["part"] == "nulls" and is_sound(r)]:
        champion, other = heat["champion"], heat[kind]
        unit = _unit(champion)
        curves = [[loss and unit * loss for loss in one["curve"]] for one in (champion, other)]
        difference = champion["val_bpb"] - other["val_bpb"]
        found.append(Course("hyperparameters", *curves, difference, scale))
    return found


def _unit(champion: Training) -> float:
    """Bits per byte that a nat per token is, by the champion's last loss and its score."""
    told = [loss for loss in champion["curve"] if loss is not None]
    return float(champion["val_bpb"]) / told[-1] if told else 1.0


def ended_at(course: Course, gain: float, doubt: float) -> int | None:
    """After how many parts the judge gives up an edit worth ``gain`` more; None if it does not."""
    judge = Judge("confirm", Noise(course.scale, 4.0))
    for parts in CHECKPOINTS:
        difference = so_far(course.champion, course.candidate, parts)
        if difference is None:
            continue
        told = forecast(difference + gain, parts, course.scale, doubt)
        if is_hopeless(judge, [], told, size_delta=0, level=0.05):
            return parts
    return None


def abandoning(readings: Sequence[Reading]) -> dict[str, Any]:
    """By kind and planted gain: the share that is abandoned, and of the budget that is trained.

    ``doubt`` is learnt from all heats, as a campaign with so many does; 1 is where one begins.
    """
    found: dict[str, Any] = {}
    heats = null_heats(readings)
    for kind in KINDS:
        scale = known_noise(heats, kind).scale
        known = courses(readings, kind, scale)
        learnt, _ = learn_doubt(known)
        found[kind] = {"heats": len(known), "doubt": round(learnt, 3)}
        for name, doubt in (("at first", 1.0), ("learnt", learnt)):
            found[kind][name] = {}
            for gain in GAINS:
                ends = [ended_at(course, gain * scale, doubt) for course in known]
                found[kind][name][f"{gain:+g} scales"] = {
                    "abandoned": round(fmean(end is not None for end in ends), 4),
                    "trained": round(fmean((end or PARTS) / PARTS for end in ends), 3),
                }
    return found
