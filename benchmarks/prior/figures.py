"""What the arms come to: scores in each cell, paired intervals, and what was asked of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from benchmarks.prior.families import Array
from benchmarks.prior.play import COLLAPSED, KINDS, OURS, TEST, Cell, Played, result, world
from benchmarks.prior.tune import chosen

OTHERS = tuple(name for name in KINDS if name not in OURS)
LEAST, LARGEST_COLLAPSE, LEAST_SHARE = -0.02, 0.01, 2 / 3
"""Asked: no score below; no larger share of collapsed runs; no smaller one of cells not lost."""
STUCK = 0.05
"""An arm is steady if it collapses and is stuck in hardly any campaign with all equal."""


def half_width(differences: Array, groups: Array | None = None) -> float:
    """Of the 95 % interval of a mean; by groups, if those of one group are not independent."""
    if groups is not None:
        differences = np.array([differences[groups == g].mean() for g in np.unique(groups)])
    count = len(differences)
    error = differences.std(ddof=1) / math.sqrt(count)
    return float(student.ppf(0.975, count - 1) * error)


def scaled(total: float, low: float, high: float) -> float:
    """0 for uniform draws, 1 for the oracle."""
    return (total - low) / (high - low)


def collapsed(played: Played) -> float | None:
    """Share of campaigns in which a category has a probability above .9 at the end."""
    return None if played.last is None else float((played.last > COLLAPSED).mean())


def in_cell(cell: Cell, count: int, arms: Sequence[str] = tuple(KINDS)) -> dict[str, Any]:
    """All arms in one cell, with the same luck: scores, and ours less the best other arm.

    With all equal: in which share of campaigns the arm is nearly certain at the end (collapsed) or
    at any trial, and in which it gave one category more than nine tenths of the last fifth of the
    trials (stuck), which can be told of arms without probabilities, too.
    """
    played = {name: result(name, cell, count, TEST, chosen(name, cell.family)) for name in arms}
    low, high = played["uniform"].total, result("oracle", cell, count, TEST, {}).total
    lead = float(high.mean() - low.mean())
    found: dict[str, Any] = {
        "family": cell.family, "horizon": cell.steps, "categories": cell.categories,
        "campaigns": count, "lead": round(lead / cell.steps, 5),
    }  # fmt: skip
    if cell.family == "equal":
        found["collapsed"] = {name: collapsed(p) for name, p in played.items()}
        found["ever_above"] = {
            name: None if p.largest is None else float((p.largest > COLLAPSED).mean())
            for name, p in played.items()
        }
        found["stuck"] = {
            name: float((p.favoured > COLLAPSED).mean()) for name, p in played.items()
        }
        return found
    found["scores"] = {
        name: round(scaled(float(p.total.mean()), float(low.mean()), float(high.mean())), 4)
        for name, p in played.items()
    }
    groups = getattr(world(cell, count, TEST), "groups", None)
    others = [name for name in arms if name in OTHERS]
    best = max(others, key=lambda name: found["scores"][name])
    found["best_other"] = best
    for name in (name for name in OURS if name in arms):
        ahead = (played[name].total - played[best].total) / lead
        half = half_width(ahead, groups)
        above = half_width((played[name].total - low) / lead, groups)
        found[name] = {
            "ahead": round(float(ahead.mean()), 4),
            "half": round(half, 4),
            "above_uniform_half": round(above, 4),
            "not_lost": bool(ahead.mean() >= -half),
        }
    return found


def summary(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was asked of ours, and whether it is met."""
    scored = [cell for cell in cells if "scores" in cell]
    equal = [cell for cell in cells if "collapsed" in cell]
    arms = list(scored[0]["scores"])
    means = {a: round(float(np.mean([cell["scores"][a] for cell in scored])), 4) for a in arms}
    best = max((name for name in arms if name in OTHERS), key=lambda name: means[name])
    found: dict[str, Any] = {"cells": len(scored), "means": means, "best_other": best}
    for kind in ("collapsed", "stuck"):
        most = {name: [cell[kind][name] for cell in equal if kind in cell] for name in arms}
        found[f"most_{kind}"] = {
            name: max(shares) for name, shares in most.items() if shares and None not in shares
        }
    gone, stuck = found["most_collapsed"], found["most_stuck"]
    found["steady"] = {
        name: means[name]
        for name in sorted(arms, key=lambda name: -means[name])
        if gone.get(name, 0.0) < LARGEST_COLLAPSE and stuck.get(name, 0.0) < STUCK
    }
    for name in OURS:
        least = min(scored, key=lambda cell: cell["scores"][name])
        not_lost = float(np.mean([cell[name]["not_lost"] for cell in scored]))
        gone = max((cell["collapsed"][name] for cell in equal), default=None)
        found[name] = {
            "least": least["scores"][name],
            "least_in": f"{least['family']}/{least['horizon']}/{least['categories']}",
            "never_below": least["scores"][name] >= LEAST,
            "most_collapsed": gone,
            "most_ever_above": max((cell["ever_above"][name] for cell in equal), default=None),
            "hardly_collapses": gone is None or gone < LARGEST_COLLAPSE,
            "share_not_lost": round(not_lost, 3),
            "two_thirds_not_lost": not_lost >= LEAST_SHARE,
            "best_mean": means[name] > means[best],
        }
    return found


def lines(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table in words, a line a family: mean scores of all arms."""
    scored = [cell for cell in cells if "scores" in cell]
    told = []
    for family in dict.fromkeys(cell["family"] for cell in scored):
        mine = [cell["scores"] for cell in scored if cell["family"] == family]
        means = {name: float(np.mean([scores[name] for scores in mine])) for name in mine[0]}
        ranked = sorted(means, key=lambda name: -means[name])
        told.append(f"{family}: " + ", ".join(f"{name} {means[name]:.2f}" for name in ranked))
    return told
