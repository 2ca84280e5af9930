"""Numbers of each arm, whole families left out turn by turn; the same effort for all arms.

Each of an arm's settings (sixteen; see ``arms.GRIDS``) plays campaigns of every family. For the
figures of a family the setting is taken that did best over the other families. The prior with
context is not tuned so: its numbers are the weights, trained without the family. Campaigns with all
equal are in each training, since they say what certainty costs: in them nothing is held out but the
luck.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agent.prior import FEATURES
from benchmarks.machine import RESULTS
from benchmarks.prior import train
from benchmarks.prior.arms import GRIDS, grid
from benchmarks.prior.play import FAMILIES, HORIZONS, TUNE, Cell, cells, is_recorded, result

FILE = RESULTS / "prior-tuning.jsonl"
CAMPAIGNS, SIZE = 60, 8
ALL = "none"
"""In place of the family that is left out: none is."""

SETTINGS: dict[str, list[dict[str, Any]]] = {
    **GRIDS,
    "landed rule": grid(step=(0.6, 1.2, 2.4, 4.8), decay=(0.7, 0.8, 0.9, 0.95)),
    "plain": [
        {**each, "entropy": 0.0, "tune": 0.0}
        for each in grid(step=(0.2, 0.5, 1.0, 2.0), decay=(0.0, 0.01, 0.03, 0.1))
    ],
}


def tuning_cells(family: str) -> list[Cell]:
    if family == "published":
        return cells((family,))
    return [Cell(family, steps, SIZE) for steps in HORIZONS]


@cache
def ends(cell: Cell) -> tuple[float, float]:
    """What uniform draws and the oracle get in a cell, for tuning."""
    low, high = (
        float(result(name, cell, 4 * CAMPAIGNS, TUNE, {}).total.mean())
        for name in ("uniform", "oracle")
    )
    return low, high


def tuned_families() -> list[str]:
    """With all equal nothing can be won."""
    return [family for family in FAMILIES if family != "equal" and is_recorded(family)]


def score(name: str, family: str, numbers: dict[str, Any]) -> float:
    """Mean over the family's cells, 0 for uniform draws and 1 for the oracle."""
    scores = []
    for cell in tuning_cells(family):
        low, high = ends(cell)
        total = result(name, cell, CAMPAIGNS, TUNE, numbers).total.mean()
        scores.append((float(total) - low) / (high - low))
    return float(np.mean(scores))


def read(path: Path = FILE) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _append(entry: dict[str, Any], path: Path) -> None:
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def jobs() -> Iterator[tuple[str, int, str]]:
    for name, settings in SETTINGS.items():
        for i in range(len(settings) if len(settings) > 1 else 0):
            for family in tuned_families():
                yield name, i, family


def tune(path: Path = FILE) -> None:
    """Play what is not in the file yet: a line for each arm, setting and family."""
    done = {(e["arm"], json.dumps(e["numbers"]), e["family"]) for e in read(path) if "arm" in e}
    todo = [
        job for job in jobs()
        if (job[0], json.dumps(SETTINGS[job[0]][job[1]]), job[2]) not in done
    ]  # fmt: skip
    for at, (name, i, family) in enumerate(todo):
        numbers = SETTINGS[name][i]
        got = round(score(name, family, numbers), 4)
        _append({"arm": name, "numbers": numbers, "family": family, "score": got}, path)
        if at % 50 == 0:
            print(f"tuning: {at} of {len(todo)}", file=sys.stderr, flush=True)


def train_all(path: Path = FILE) -> None:
    """Train the weights without each family in turn, and with all; each as soon as it is there."""
    for left_out in (ALL, *tuned_families()):
        if left_out in weights(path):
            continue
        print(f"training without {left_out}", file=sys.stderr, flush=True)
        families = [each for each in FAMILIES if each != left_out and is_recorded(each)]
        found = [round(float(w), 2) for w in train.train(families)]
        _append({"without": left_out, "trained_on": families, "weights": found}, path)


def weights(path: Path = FILE) -> dict[str, list[float]]:
    """Of each training, by the family that was left out; only those of today's features."""
    found = {e["without"]: e["weights"] for e in read(path) if "without" in e}
    return {name: mine for name, mine in found.items() if len(mine) == len(FEATURES)}


def chosen(name: str, left_out: str, path: Path = FILE) -> dict[str, Any]:
    """The numbers of an arm for the figures of a family, from the other families only.

    Raises:
        SystemExit: they are not there yet.
    """
    if name == "context":
        found = weights(path)
        left_out = ALL if left_out == "equal" else left_out
        if left_out not in found:
            raise SystemExit(f"error: no weights without {left_out}; run with --train first")
        return {"weights": found[left_out], **train.RULE._asdict()}
    settings = SETTINGS[name]
    if len(settings) == 1:
        return settings[0]
    scores: dict[str, list[float]] = {}
    for entry in read(path):
        if entry.get("arm") == name and entry["family"] != left_out:
            scores.setdefault(json.dumps(entry["numbers"]), []).append(entry["score"])
    if not scores:
        raise SystemExit(f"error: {name} is not tuned; run with --tune first")
    best: dict[str, Any] = json.loads(max(scores, key=lambda key: np.mean(scores[key])))
    return best
