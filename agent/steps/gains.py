"""What is known of a gain: over documents, by group, and at another setting. Pure.

Over documents it is the percentile interval of a paired bootstrap (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993; of two models' scores, Koehn, EMNLP 2004). Documents of a group
are alike, so whole groups are drawn where there are enough (Field and Welsh, Journal of the Royal
Statistical Society B 69, 2007). Over seeds it is Student's t: ``fresh.interval``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from agent.steps.fresh import Interval

ENOUGH_GROUPS = 10
ENOUGH_DOCUMENTS = 5
"""For an interval: of a few, all that are drawn are alike, and it would be too narrow."""
DRAWS = 2000
Documents = Sequence[tuple[str, int, float]]
"""Group, bytes and bits of each document, in order."""
Numbers = npt.NDArray[np.float64]


def by_documents(seeds: Sequence[Sequence[Sequence[Documents]]]) -> dict[str, Any]:
    """The gain with its interval over documents, and by group, worst first; empty without them.

    Args:
        seeds: for each the pairs, before and after, whose gains add up to the whole gain.
    """
    sides = [side for pairs in seeds for pair in pairs for side in pair]
    texts = {tuple((group, size) for group, size, _ in side) for side in sides}
    if len(texts) != 1 or len(text := texts.pop()) < 2:
        return {}
    bits = np.array([[cost for _, _, cost in side] for side in sides])
    saved: Numbers = (bits[::2] - bits[1::2]).sum(axis=0) / len(seeds)
    sizes, names = np.array([float(s) for _, s in text]), np.array([name for name, _ in text])
    members = {name: names == name for name in sorted(set(names.tolist()))}
    groups = [
        {"group": name, "documents": int(of.sum()), **bootstrap(saved[of], sizes[of])}
        for name, of in members.items()
    ]
    drawn = "groups" if len(members) >= ENOUGH_GROUPS else "documents"
    if drawn == "groups":
        saved, sizes = (np.array([n[of].sum() for of in members.values()]) for n in (saved, sizes))
    whole = {**bootstrap(saved, sizes), "documents": len(text), "drawn": drawn}
    return {"by_documents": whole, "groups": sorted(groups, key=lambda group: group["mean"])}


def bootstrap(saved: Numbers, sizes: Numbers) -> dict[str, float | None]:
    """Bits saved by byte of text, with its interval unless there are too few; drawn alike each time
    for as many documents."""
    mean = float(saved.sum() / sizes.sum())
    if len(saved) < ENOUGH_DOCUMENTS:
        return {"mean": mean, "low": None, "high": None}
    drawn = np.random.default_rng(len(saved)).integers(len(saved), size=(DRAWS, len(saved)))
    means = saved[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": mean, "low": float(low), "high": float(high)}


def label(
    gain: Interval, claimed: float | None, half: float | None
) -> Literal["transfers", "budget-bound", "undecided"]:
    """What a gain at another setting says of the one that was ``claimed`` at home, ± ``half``: one
    that was not sure there does not hold only there."""
    if gain.low > 0:
        return "transfers"
    is_sure = claimed is not None and half is not None and claimed > half
    return "budget-bound" if is_sure and gain.high < (claimed or 0.0) / 2 else "undecided"
