"""Published campaigns, one left out at a time: does what the others taught help to rank its trials?

The replay is ``recorded.Published``'s: of what the log tries within a window of ten trials the arm
names the category to spend next. ``context`` and ``plain`` start knowing nothing. ``lent`` starts
from logits that the other campaigns taught: of each category the mean reward over all other
campaigns, less their mean, in standard deviations, shrunk by ``DOUBT`` trials and times ``LENT``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.prior.figures import half_width
from benchmarks.prior.ours import Ours
from benchmarks.prior.play import TEST, Cell, Played, make, play
from benchmarks.prior.published import CATEGORIES
from benchmarks.prior.recorded import HORIZON, Published, campaigns, reward_of
from benchmarks.prior.tune import chosen

REPEATS = 60
DOUBT, LENT = 20.0, 1.0


def lent(left_out: int) -> list[float]:
    """Logits of the categories, from all campaigns but one."""
    rows = [row for n, log in campaigns().items() if n != left_out for row in log]
    rewards = np.array([reward_of(row) for row in rows])
    logits = []
    for name in CATEGORIES:
        mine = rewards[[row.category == name for row in rows]]
        known = len(mine) / (len(mine) + DOUBT)
        gain = (mean_of(mine) - rewards.mean()) / rewards.std() if len(mine) else 0.0
        logits.append(LENT * known * gain)
    return logits


def mean_of(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def one(name: str, number: int) -> Played:
    """An arm on the campaign ``number``, so often over."""
    place, cell = Published(REPEATS, TEST, 1, (number,)), Cell("published", HORIZON, 10)
    base = name.removesuffix(" lent")
    numbers = {} if base == "uniform" else chosen(base, "published")
    arm = make(base, cell, REPEATS, TEST + 100 * number, numbers)
    if name.endswith(" lent"):
        assert isinstance(arm, Ours)
        arm.learner.theta[:] = lent(number)
    return play(arm, place)


def replayed() -> dict[str, Any]:
    """Mean reward a trial above uniform draws, by campaign; the intervals are over campaigns."""
    names = ("plain", "context", "plain lent", "context lent")
    above: dict[str, list[float]] = {name: [] for name in names}
    for number in campaigns():
        low = one("uniform", number).total.mean()
        for name in names:
            above[name].append(float(one(name, number).total.mean() - low) / HORIZON)
    return {
        "campaigns": len(campaigns()),
        "trials": HORIZON,
        "above_uniform": {
            name: {
                "mean": round(float(np.mean(gains)), 5),
                "half": round(half_width(np.array(gains)), 5),
                "better_in": int(sum(gain > 0 for gain in gains)),
            }
            for name, gains in above.items()
        },
    }
