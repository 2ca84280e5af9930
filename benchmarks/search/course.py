"""The course of a campaign: what it had spent and claimed after each trial."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.campaign.records import Training
from agent.campaign.state import State
from trainer.measure import Measurement

POINTS = 4
"""Most champions of a campaign that are verified, the last among them."""


@dataclass(frozen=True)
class Step:
    """One trial."""

    trial: int
    seconds: float
    """Device time up to its end: training and answering when scored, of all sides of its heats;
    without start-ups, checks of two steps and the stronger audits of what is kept."""
    status: str
    kept: bool
    claimed: float
    """Gain over the start that was claimed after it, bits per byte."""
    category: str = ""

    def to_json(self) -> dict[str, Any]:
        rounded = {"seconds": round(self.seconds, 2), "claimed": round(self.claimed, 5)}
        return asdict(self) | rounded


@dataclass(frozen=True)
class Found:
    """What a search came to: its course, and the file after each trial that was kept."""

    steps: list[Step]
    files: dict[int, str]
    """By trial, the start's first."""
    ended: str

    def to_verify(self) -> dict[int, str]:
        """The start, and up to ``POINTS`` of what was kept, in even steps to the last."""
        kept = list(self.files)[1:]
        count = min(POINTS, len(kept))
        chosen = [kept[round((n + 1) * len(kept) / count) - 1] for n in range(count)]
        return {trial: self.files[trial] for trial in [next(iter(self.files)), *chosen]}


def digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def device_seconds(training: Training | Measurement) -> float:
    return training.train_seconds + training.answer_seconds


def steps_of(state: State) -> list[Step]:
    """Of the trials that have a verdict, null trials included."""
    seconds = claimed = 0.0
    steps = []
    for trial in state.finished:
        seconds += sum(device_seconds(run) for run in trial.trainings if not run.reused)
        is_keep = trial.kept and not trial.is_null
        claimed += (trial.gain or 0.0) if is_keep and trial.trial else 0.0
        status = trial.verdict if trial.verdict == "rejected" else trial.status
        steps.append(Step(trial.trial, seconds, str(status), is_keep, claimed, trial.credited))
    return steps


def steps_of_points(points: Sequence[dict[str, Any]]) -> list[Step]:
    """Of points that were trained one after the other, the start's first; the best score counts."""
    seconds, best, steps = 0.0, None, []
    first = next((p["score"] for p in points if p["score"] is not None), None)
    for number, point in enumerate(points):
        seconds += point["seconds"]
        kept = point["score"] is not None and (best is None or point["score"] < best)
        best = point["score"] if kept else best
        claimed = first - best if first is not None and best is not None else 0.0
        steps.append(Step(number, seconds, point["status"], kept, claimed))
    return steps
