"""What the readings of the benchmark of heats say: noise, early losses, the cost of turns.

Pure functions of readings. A difference is the champion's val_bpb less the other's, bits per byte:
positive means that the other is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import Any

import numpy as np

from benchmarks.heats_plan import kind_of

WAYS = ("apart", "in turns", "in turns, one seed")
RESAMPLES = 2000
SHARES = (0.25, 0.5, 0.75, 0.9)
"""Of the budget, at which training losses are compared."""
LATEST_WINDOWS = 3
"""The loss at a share of the budget is the last that was told in so many windows before it."""

Reading = Mapping[str, Any]
Training = Mapping[str, Any]


# --- access ---


def company(reading: Reading) -> str:
    """Budget and neighbour in words: readings that differ in these are not put together."""
    neighbour = "with a neighbour" if reading["neighbour"] else "quiet"
    return f"{reading['seconds']:g} s, {neighbour}"


def trainings(reading: Reading) -> list[Training]:
    return [training for run in reading["runs"] for training in run["trainings"]]


def is_sound(reading: Reading) -> bool:
    """Whether all its trainings gave a score, and those of each heat took turns."""
    return all(
        training["status"] == "ok"
        and training["how"] == ("alone" if len(run["trainings"]) == 1 else "side by side")
        for run in reading["runs"]
        for training in run["trainings"]
    )


def heat_of(reading: Reading) -> dict[str, Training]:
    """The trainings of its heat by role."""
    (run,) = (run for run in reading["runs"] if len(run["trainings"]) > 1)
    return {training["role"]: training for training in run["trainings"]}


def alone_of(reading: Reading) -> list[Training]:
    """The trainings that ran alone."""
    return [run["trainings"][0] for run in reading["runs"] if len(run["trainings"]) == 1]


def grouped(readings: Iterable[Reading], by: Callable[[Reading], str]) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        found.setdefault(by(reading), []).append(reading)
    return found


# --- noise of differences ---


def ways(reading: Reading) -> tuple[float, float, float]:
    """The difference of champion and edit in each of WAYS."""
    heat = heat_of(reading)
    apart = {training["role"]: training["val_bpb"] for training in alone_of(reading)}
    champion = heat["champion"]["val_bpb"]
    return (
        apart["champion"] - apart["edit"],
        champion - heat["other seed"]["val_bpb"],
        champion - heat["one seed"]["val_bpb"],
    )


def pooled_sd(groups: Sequence[np.ndarray]) -> np.ndarray:
    """SD of each column about the means of its group, pooled over the groups of rows."""
    squares = sum(((group - group.mean(0)) ** 2).sum(0) for group in groups)
    return np.asarray(np.sqrt(squares / sum(len(group) - 1 for group in groups)))


def interval(values: np.ndarray) -> list[float]:
    """The middle 95 %."""
    return [round(float(value), 5) for value in np.quantile(values, [0.025, 0.975])]


def noise(edits: Mapping[str, Sequence[Sequence[float]]], seed: int = 0) -> dict[str, Any]:
    """SD of differences each way, pooled over edits, with bootstrap intervals.

    Readings are resampled within each edit, the three ways of a reading together. A resample of n
    readings has (n - 1) / n of their variance, for which its SD is corrected.

    Args:
        edits: for each edit a row a reading, as ``ways`` has it.
    """
    groups = [np.array(rows, float) for rows in edits.values() if len(rows) > 1]
    if not groups:
        return {}
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = [group[rng.integers(len(group), size=len(group))] for group in groups]
        resampled.append(pooled_sd(drawn))
    count, dof = sum(map(len, groups)), sum(len(group) - 1 for group in groups)
    sds, draws = pooled_sd(groups), np.array(resampled) * math.sqrt(count / dof)
    usable = draws[draws[:, 0] > 0]
    against = {
        f"{name} of {WAYS[0]}": {
            "ratio": round(float(sds[i] / sds[0]), 3),
            "interval": interval(usable[:, i] / usable[:, 0]),
        }
        for i, name in enumerate(WAYS)
        if i and sds[0] > 0
    }
    return {
        "readings": count,
        "sd": {
            name: {"sd": round(float(sds[i]), 5), "interval": interval(draws[:, i])}
            for i, name in enumerate(WAYS)
        },
        "mean": {
            name: [round(float(group[:, i].mean()), 5) for group in groups]
            for i, name in enumerate(WAYS)
        },
        **against,
    }


def noise_table(readings: Sequence[Reading]) -> dict[str, Any]:
    """``noise`` by budget and neighbour, for each kind of edit and each edit."""
    sound = [r for r in readings if r["part"] == "edits" and is_sound(r)]
    table: dict[str, Any] = {}
    for where, group in grouped(sound, company).items():
        by_edit = grouped(group, lambda reading: str(reading["name"]))
        rows = {name: [ways(reading) for reading in own] for name, own in by_edit.items()}
        kinds = list(dict.fromkeys(kind_of(name) for name in rows))
        table[where] = {
            **{f"all {k}": noise({n: rows[n] for n in rows if kind_of(n) == k}) for k in kinds},
            **{name: noise({name: rows[name]}) for name in rows},
        }
    return table


# --- null heats ---


@dataclass(frozen=True)
class NullHeat:
    """What rules are simulated with: one heat of a champion and two edits without any effect."""

    champion: str
    scores: Mapping[str, float]
    """By role."""

    def difference(self, kind: str) -> float:
        return self.scores["champion"] - self.scores[kind]


def null_heats(readings: Sequence[Reading]) -> list[NullHeat]:
    return [
        NullHeat(r["name"], {role: each["val_bpb"] for role, each in heat_of(r).items()})
        for r in readings
        if r["part"] == "nulls" and is_sound(r)
    ]


def null_spread(heats: Sequence[NullHeat]) -> dict[str, Any]:
    """SD of scores between heats and of differences within them, for each champion."""
    found: dict[str, Any] = {}
    for champion in dict.fromkeys(heat.champion for heat in heats):
        own = [heat for heat in heats if heat.champion == champion]
        if len(own) > 1:
            found[champion] = {"heats": len(own)} | _spread(own)
    return found | {"all champions": {"heats": len(heats)} | _spread(heats)} if found else {}


def _spread(heats: Sequence[NullHeat]) -> dict[str, float]:
    """About the mean of each champion for scores; about zero for differences, which have none."""
    by_champion: dict[str, list[float]] = {}
    for heat in heats:
        by_champion.setdefault(heat.champion, []).append(heat.scores["champion"])
    groups = [np.array(each)[:, None] for each in by_champion.values() if len(each) > 1]
    found = {"score_sd": round(float(pooled_sd(groups)[0]), 5)}
    for kind in ("structural", "numeric"):
        differences = np.array([heat.difference(kind) for heat in heats])
        found[f"{kind}_sd"] = round(float(np.sqrt((differences**2).mean())), 5)
        found[f"{kind}_mean"] = round(float(differences.mean()), 5)
        found[f"{kind}_kurtosis"] = round(_kurtosis(differences), 2)
    return found


def _kurtosis(values: np.ndarray) -> float:
    """Of values about zero; 3 for a normal distribution."""
    square = float((values**2).mean())
    return float((values**4).mean()) / square**2 if square > 0 else math.nan


def pace_within_heats(readings: Sequence[Reading]) -> dict[str, Any]:
    """How unlike the numbers of steps of two equal trainings are, and what that does to scores.

    ``sd_at_equal_steps`` is what the differences would scatter if all had taken as many steps, by
    regression on the logarithm of the ratio.
    """
    found: dict[str, Any] = {}
    for kind in ("structural", "numeric"):
        points = [
            (math.log(heat[kind]["steps"] / heat["champion"]["steps"]), heat_difference(heat, kind))
            for heat in (heat_of(r) for r in readings if r["part"] == "nulls" and is_sound(r))
        ]
        if len(points) > 2:
            ratios, differences = np.array(points).T
            slope = float(ratios @ differences) / (float(ratios @ ratios) or 1.0)
            left = float(((differences - slope * ratios) ** 2).mean())
            found[kind] = {
                "n": len(points),
                "log_steps_ratio_sd": round(float((ratios**2).mean()) ** 0.5, 4),
                "correlation": correlation(np.array(points)),
                "sd": round(float((differences**2).mean()) ** 0.5, 5),
                "sd_at_equal_steps": round(left**0.5, 5),
            }
    return found


def heat_difference(heat: Mapping[str, Training], role: str) -> float:
    return float(heat["champion"]["val_bpb"] - heat[role]["val_bpb"])


# --- early losses ---


def loss_at(curve: Sequence[float | None], share: float) -> float | None:
    """Mean training loss in the windows just before a share of the budget."""
    end = round(share * len(curve))
    told = [loss for loss in curve[max(0, end - LATEST_WINDOWS) : end] if loss is not None]
    return fmean(told) if told else None


def pairs(readings: Sequence[Reading]) -> dict[str, dict[str, list[tuple[Training, Training]]]]:
    """Champion and the other of each heat: by kind and budget, then by edit or champion."""
    found: dict[str, dict[str, list[tuple[Training, Training]]]] = {}
    for reading in readings:
        if not is_sound(reading) or reading["part"] == "turns":
            continue
        heat, name, where = heat_of(reading), reading["name"], company(reading)
        if reading["part"] == "nulls":
            wanted = {f"null heats, {kind}": heat[kind] for kind in ("structural", "numeric")}
        else:
            wanted = {f"edits, {kind_of(name)}, one seed": heat["one seed"]}
        for kind, other in wanted.items():
            group = found.setdefault(f"{kind}, {where}", {}).setdefault(name, [])
            group.append((heat["champion"], other))
    return found


def early_losses(readings: Sequence[Reading]) -> dict[str, Any]:
    """How the difference of training losses during a heat goes with that of val_bpb at its end.

    ``within``: about the means of each edit or champion, so luck alone; ``all``: with the edits'
    effects.
    """
    return {
        name: {f"{share:.0%}": _agreement(list(groups.values()), share) for share in SHARES}
        for name, groups in pairs(readings).items()
    }


def _agreement(
    groups: Sequence[Sequence[tuple[Training, Training]]], share: float
) -> dict[str, Any]:
    points: list[np.ndarray] = []
    for group in groups:
        rows = [
            (before - after, champion["val_bpb"] - other["val_bpb"])
            for champion, other in group
            if (before := loss_at(champion["curve"], share)) is not None
            and (after := loss_at(other["curve"], share)) is not None
        ]
        points += [np.array(rows)] if len(rows) > 1 else []
    if not points:
        return {"n": 0}
    centred = np.concatenate([group - group.mean(0) for group in points])
    together = np.concatenate(points)
    return {
        "n": len(together),
        "within": correlation(centred),
        "all": correlation(together),
        "same_sign": round(float((together[:, 0] * together[:, 1] > 0).mean()), 3),
    }


def correlation(points: np.ndarray) -> float | None:
    """Pearson's, of two columns; None where one does not vary."""
    if len(points) < 3 or not (points.std(0) > 0).all():
        return None
    return round(float(np.corrcoef(points.T)[0, 1]), 3)


# --- turns ---


def turn_cost(readings: Sequence[Reading]) -> dict[str, Any]:
    """Steps a second of the clock in a heat of two, as a share of that alone just before and after.

    And what a heat takes beyond its trainings, beside what as many trainings alone take.
    """
    sound = [r for r in readings if r["part"] == "turns" and is_sound(r)]
    found: dict[str, Any] = {}
    for where, group in grouped(sound, company).items():
        found[where] = {
            "pace_share": spread([_pace_share(reading) for reading in group]),
            "pace_change_alone": spread([_drift(reading) for reading in group]),
            "heat_overhead_seconds": spread([_overhead(reading, heat=True) for reading in group]),
            "alone_overhead_seconds": spread([_overhead(reading, heat=False) for reading in group]),
        }
    return found


def _pace(training: Training) -> float:
    return float(training["steps"] / training["train_seconds"])


def _pace_share(reading: Reading) -> float:
    """Of all trainings of the heat, since all have the same file."""
    alone = [_pace(training) for training in alone_of(reading)]
    return fmean(_pace(training) for training in heat_of(reading).values()) / fmean(alone)


def _drift(reading: Reading) -> float:
    """Pace of the later training alone over the earlier one: what the machine does by itself."""
    before, after = alone_of(reading)
    return _pace(after) / _pace(before)


def _overhead(reading: Reading, heat: bool) -> float:
    """Wall seconds beyond training and scoring: of the heat, or of both trainings alone."""
    wanted = [run for run in reading["runs"] if (len(run["trainings"]) > 1) == heat]
    inside = ("train_seconds", "score_seconds")
    spent = [float(each[name]) for run in wanted for each in run["trainings"] for name in inside]
    return sum(float(run["wall_seconds"]) for run in wanted) - sum(spent)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, how many."""
    found: dict[str, Any] = {"median": round(median(values), 4), "n": len(values)}
    if len(values) > 1:
        low, _, high = quantiles(values, n=4, method="inclusive")
        found["quartiles"] = [round(low, 4), round(high, 4)]
    return found
