"""Numbers of each arm, whole families left out turn by turn; the same effort for all arms.

Each of an arm's settings (sixteen; see ``arms.GRIDS``) plays campaigns of every family. For the
figures of a family the setting is taken that did best over the other families. The prior with
context has weights, too, which were trained without the family that is played. Campaigns with all
equal are in each training, since they say what certainty costs: in them nothing is held out but the
luck.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agent.learner import FEATURES
from benchmarks.landed_prior import DECAY, STEP
from benchmarks.machine import RESULTS
from benchmarks.prior import train
from benchmarks.prior.arms import GRIDS, grid
from benchmarks.prior.play import (
    FAMILIES,
    TUNE,
    Cell,
    cells,
    is_recorded,
    make,
    play,
    result,
    world,
)  # fmt: skip

FILE = RESULTS / "prior-tuning.jsonl"
CAMPAIGNS, SIZE = 60, 8
ALL = "none"
"""In place of the family that is left out: none is."""

# Larger steps of ours scored higher and collapsed where all is equal, before ``learner.MOST``.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    **GRIDS,
    "landed rule": [{"step": STEP, "decay": DECAY}],
    "landed rule, tuned": grid(step=(2.4, 4.8, 9.6, 19.2), decay=(0.8, 0.9, 0.95, 0.98)),
    "plain": [
        {**each, "entropy": 0.0, "tune": 0.0}
        for each in grid(step=(0.25, 0.5, 0.75, 1.0), decay=(0.01, 0.02, 0.03, 0.06))
    ],
    "context": grid(step=(0.2, 0.4, 0.5, 0.6), tune=(0.0, 0.002, 0.005, 0.01)),
}


def tuning_cells(family: str) -> list[Cell]:
    if family == "published":
        return cells((family,))
    return [cell for cell in cells((family,)) if cell.categories == SIZE]


@cache
def ends(cell: Cell) -> tuple[float, float]:
    """What uniform draws and the oracle get in a cell, for tuning."""
    low, high = (
        float(result(name, cell, CAMPAIGNS, TUNE, {}).total.mean())
        for name in ("uniform", "oracle")
    )
    return low, high


def tuned_families() -> list[str]:
    """With all equal nothing can be won."""
    return [family for family in FAMILIES if family != "equal" and is_recorded(family)]


def scores(name: str, family: str, more: dict[str, Any]) -> list[float]:
    """Of each setting, the mean over the family's cells; 0 for uniform draws, 1 for the oracle.

    All settings meet the same luck.
    """
    settings = SETTINGS[name]
    many = CAMPAIGNS * len(settings)
    numbers = {
        key: np.tile([[each[key]] for each in settings], (CAMPAIGNS, 1)) for key in settings[0]
    }
    found = []
    for cell in tuning_cells(family):
        low, high = ends(cell)
        arm = make(name, cell, many, TUNE, {**numbers, **more})
        total = play(arm, world(cell, many, TUNE, len(settings))).total
        found.append((total.reshape(CAMPAIGNS, -1).mean(axis=0) - low) / (high - low))
    return [round(float(each), 4) for each in np.mean(found, axis=0)]


def read(path: Path = FILE) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _append(entry: dict[str, Any], path: Path) -> None:
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def trained(name: str, left_out: str, path: Path) -> dict[str, Any]:
    """The weights that were trained without a family, on most others; of the arm that has some.

    Raises:
        SystemExit: there are none.
    """
    if name != "context":
        return {}
    left_out = ALL if left_out == "equal" else left_out
    fit = [e for e in trainings(path) if (e["without"] == left_out) or left_out != ALL]
    fit = [e for e in fit if left_out not in e["trained_on"]]
    if not fit:
        raise SystemExit(f"error: no weights without {left_out}; run with --train first")
    return {"weights": max(reversed(fit), key=lambda e: len(e["trained_on"]))["weights"]}


def tune(path: Path = FILE) -> None:
    """Play what is not in the file yet: a line for each arm and family."""
    done = {_key(entry) for entry in read(path) if "arm" in entry}
    for name in SETTINGS:
        for family in tuned_families() if len(SETTINGS[name]) > 1 else ():
            more = trained(name, family, path)
            entry = {"arm": name, "family": family, "settings": SETTINGS[name], **more}
            if _key(entry) not in done:
                print(f"tuning {name}: {family}", file=sys.stderr, flush=True)
                _append({**entry, "scores": scores(name, family, more)}, path)


def _key(entry: dict[str, Any]) -> str:
    return json.dumps([entry["arm"], entry["settings"], entry["family"], entry.get("weights")])


def train_all(path: Path = FILE) -> None:
    """Train the weights without each family in turn, and with all; each as soon as it is there."""
    for left_out in (ALL, *tuned_families()):
        families = [each for each in FAMILIES if each != left_out and is_recorded(each)]
        if any(e["without"] == left_out and e["trained_on"] == families for e in trainings(path)):
            continue
        print(f"training without {left_out}", file=sys.stderr, flush=True)
        found = [round(float(w), 2) for w in train.train(families)]
        _append({"without": left_out, "trained_on": families, "weights": found}, path)


def trainings(path: Path = FILE) -> list[dict[str, Any]]:
    """All trainings, oldest first; only those of as many features as there are today."""
    found = [entry for entry in read(path) if "without" in entry]
    return [entry for entry in found if len(entry["weights"]) == len(FEATURES)]


def chosen(name: str, left_out: str, path: Path = FILE) -> dict[str, Any]:
    """The numbers of an arm for the figures of a family, from the other families only.

    Raises:
        SystemExit: they are not there yet.
    """
    more = trained(name, left_out, path)
    settings = SETTINGS[name]
    if len(settings) == 1:
        return settings[0]
    known = {
        entry["family"]: entry["scores"]
        for entry in read(path)
        if entry.get("arm") == name and entry["settings"] == settings
    }
    known.pop(left_out, None)
    if not known:
        raise SystemExit(f"error: {name} is not tuned; run with --tune first")
    best = int(np.argmax(np.mean(list(known.values()), axis=0)))
    return {**settings[best], **more}
