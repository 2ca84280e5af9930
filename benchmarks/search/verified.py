"""Heats of the start and of what was found, on test text and seeds of their own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.steps.fresh import Interval, fresh_seed, interval
from benchmarks.search.course import digest
from benchmarks.search.lines import append_line, read_lines
from trainer import measure

SEEDS = 5


def verify(
    files: Mapping[Any, str],
    name: str,
    budget: str,
    path: Path,
    stop: threading.Event,
    say: Callable[[str], None],
    seeds: int = SEEDS,
) -> list[dict[str, Any]] | None:
    """One heat a seed of all files, the start first; those that are recorded are not done again.

    Args:
        files: by trial, the start's first.
        name: of whose gain it is; another name has other seeds.
        path: where heats are recorded, to be gone on with.

    Returns:
        Of each file but the start: its trial, hash, gain a seed, and interval. None if it was asked
        to stop.
    """
    if len(files) < 2:
        return []  # nothing was found, and nothing is opened
    of = [digest(source) for source in files.values()]
    heats = [heat for heat in read_lines(path) if heat["of"] == of and heat["name"] == name]
    for number in range(len(heats), seeds):
        seed = fresh_seed("benchmarks.search", name, number)
        measured = measure.heat(
            list(files.values()),
            seed=seed,
            budget=budget,
            preset="cpu",
            split="test",
            champion_first=number % 2 == 0,
            cancel=stop,
        )
        if stop.is_set():
            return None
        heat = {
            "of": of,
            "name": name,
            "seed": seed,
            "scores": [one.val_bpb for one in measured],
            "statuses": [f"{one.status} {one.reason}".strip() for one in measured],
            "how": measured[0].how,
            "threads": measured[0].fingerprint["threads"],
        }
        append_line(path, heat)
        heats.append(heat)
        say(f"verified with seed {number + 1} of {seeds}: {heat['scores']}")
    return [
        {"trial": trial, "file": of[n], **gains_of([h["scores"] for h in heats[:seeds]], n)}
        for n, trial in enumerate(files)
        if n
    ]


def gains_of(scores: Sequence[Sequence[float | None]], number: int) -> dict[str, Any]:
    """Gain of one file over the first, a seed, with its 95 % interval over the seeds.

    The ends are None if fewer than two seeds have a gain. A seed without a score of one of both
    says nothing of the gain; ``failed`` counts them.
    """
    pairs = [(one[0], one[number]) for one in scores]
    gains = [a - b for a, b in pairs if a is not None and b is not None and math.isfinite(b)]
    told: dict[str, Any] = {"gains": [round(gain, 5) for gain in gains]}
    told["failed"] = len(scores) - len(gains)
    if len(gains) < 2:
        return told | {"mean": gains[0] if gains else None, "low": None, "high": None}
    found: Interval = interval(gains)
    rounded = {name: round(getattr(found, name), 5) for name in ("mean", "low", "high")}
    return told | rounded
