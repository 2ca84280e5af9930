"""What the brake costs by which one trial raises a category at most ``RISE``-fold.

    python -m benchmarks.prior --held

The prior with it (the arm ``context`` of the other figures), as campaigns use it, and without it,
with the same numbers and weights, in the cells of 8 categories of the made-up families.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agent.learner import RISE
from benchmarks.prior.families import SYNTHETIC
from benchmarks.prior.figures import scaled
from benchmarks.prior.ours import Ours
from benchmarks.prior.play import HORIZONS, TEST, Cell, play, result, world
from benchmarks.prior.tune import chosen

CAMPAIGNS, SIZE = 100, 8
STUCK = 0.9


class Free(Ours):
    rise = math.inf


def figures() -> dict[str, Any]:
    """Scores, 0 for uniform draws and 1 for an oracle, and the share of campaigns that are stuck on
    one category at the end where all are equal."""
    found: dict[str, dict[str, Any]] = {}
    for cell in (Cell(family, steps, SIZE) for family in SYNTHETIC for steps in HORIZONS):
        numbers = chosen("context", cell.family)
        held = result("context", cell, CAMPAIGNS, TEST, numbers)
        rng = np.random.default_rng([*b"context", *cell.name.encode(), TEST])
        arm = Free(CAMPAIGNS, SIZE, rng, steps=cell.steps, **numbers)
        free = play(arm, world(cell, CAMPAIGNS, TEST))
        if cell.family == "equal":
            pair = [float((one.favoured > STUCK).mean()) for one in (free, held)]
        else:
            low = result("uniform", cell, CAMPAIGNS, TEST, {}).total.mean()
            high = result("oracle", cell, CAMPAIGNS, TEST, {}).total.mean()
            pair = [float(scaled(one.total.mean(), low, high)) for one in (free, held)]
        found[cell.name] = dict(zip(("free", "held"), (round(v, 3) for v in pair), strict=True))
    scores = [row for name, row in found.items() if not name.startswith("equal")]
    mean = {k: round(float(np.mean([row[k] for row in scores])), 3) for k in ("free", "held")}
    return {"rise": RISE, "campaigns": CAMPAIGNS, "mean": mean, "cells": found}
