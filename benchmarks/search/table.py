"""What the recorded campaigns come to: a table by arm, in JSON and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from agent.campaign.records import NULL
from agent.steps.fresh import interval
from benchmarks.search.arms import (
    ARMS,
    DISTANCE,
    IN_TURN,
    OF_ISSUE,
    PRIOR,
    TPE,
    TPE_STATED,
    TUNER,
    UNIFORM,
)

Row = dict[str, Any]
"""Of one campaign, as ``one`` writes it."""
NOTHING = {"mean": 0.0, "low": 0.0, "high": 0.0, "gains": [], "failed": 0}
"""The verified gain of what kept nothing: the same file."""


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """By arm and length: what was claimed and verified, the share closed, the price."""
    distance = distance_of(rows)
    told = {key: distance[key] for key in ("mean", "low", "high")} if distance else None
    arms = [
        of_arm([row for row in rows if (row["arm"], row["trials"]) == (arm, trials)], told)
        for arm in ARMS
        for trials in sorted({row["trials"] for row in rows if row["arm"] == arm})
    ]
    campaigns = longest([row for row in rows if row["arm"] != DISTANCE])
    judged = [row for row in campaigns if ARMS[row["arm"]].is_campaign]
    return {
        "distance": told,
        "arms": arms,
        "claimed_above_the_interval": {
            "judged in heats": [sum(map(claims_too_much, judged)), len(judged)],
            "all": [sum(map(claims_too_much, campaigns)), len(campaigns)],
        },
        "time_to_tpe": time_to_tpe(rows),
        "prior_against": {arm.name: paired(rows, arm.name) for arm in (UNIFORM, IN_TURN)},
    }


def longest(rows: Sequence[Row]) -> list[Row]:
    """Of each arm and seed the longest campaign, which goes on from the shorter ones."""
    by_length = sorted(rows, key=lambda row: row["trials"])
    return list({(row["arm"], row["seed"]): row for row in by_length}.values())


def of_arm(rows: Sequence[Row], distance: dict[str, float] | None) -> dict[str, Any]:
    """An arm's campaigns of one length, and the mean over them with its interval."""
    campaigns = [of_campaign(row, distance) for row in sorted(rows, key=lambda r: r["seed"])]
    means = [one["verified"]["mean"] for one in campaigns if one["verified"]["mean"] is not None]
    over: dict[str, Any] = {"mean": round(fmean(means), 5) if means else None}
    if len(means) > 1:
        found = interval(means)
        over |= {"low": round(found.low, 5), "high": round(found.high, 5)}
    return {
        "arm": rows[0]["arm"],
        "trials": rows[0]["trials"],
        "threads": rows[0]["threads"],
        "campaigns": campaigns,
        "verified": over,
    }


def of_campaign(row: Row, distance: dict[str, float] | None) -> dict[str, Any]:
    """One campaign in numbers; the share is that of the mean distance."""
    final, course = final_of(row), row["course"]
    shares = {}
    if distance and distance["mean"] and final["mean"] is not None:
        ends = {key: final[key] for key in ("mean", "low", "high") if final[key] is not None}
        shares = {key: round(end / distance["mean"], 3) for key, end in ends.items()}
    return {
        "seed": row["seed"],
        "device_seconds": course[-1]["seconds"],
        "trials": sum(step["trial"] > 0 and step["category"] != NULL for step in course),
        "failed": sum(step["status"] not in ("ok", "abandoned", "rejected") for step in course),
        "kept": sum(step["kept"] and step["trial"] > 0 for step in course),
        "claimed": course[-1]["claimed"],
        "verified": {key: final[key] for key in ("mean", "low", "high", "failed")},
        "share_closed": shares or None,
        "claims_too_much": claims_too_much(row),
    }


def final_of(row: Row) -> dict[str, Any]:
    """The verified gain of what a campaign ended with."""
    return dict(row["verified"][-1]) if row["verified"] else dict(NOTHING)


def claims_too_much(row: Row) -> bool:
    """Whether the claim is above the interval of what is verified, or that cannot be verified."""
    claimed, final = row["course"][-1]["claimed"], final_of(row)
    return bool(claimed > (final["high"] if final["high"] is not None else 0.0))


def distance_of(rows: Sequence[Row]) -> dict[str, Any] | None:
    """From the plain start to the shipped train.py; None if it is not measured."""
    measured = [row for row in rows if row["arm"] == DISTANCE]
    return measured[-1]["verified"][-1] if measured and measured[-1]["verified"] else None


def verified_course(row: Row) -> list[tuple[float, float]]:
    """Device seconds and verified gain of the champions that were verified, from the start on."""
    at = {step["trial"]: step["seconds"] for step in row["course"]}
    points = [(at[one["trial"]], one["mean"]) for one in row["verified"]]
    first = row["course"][0]["seconds"]
    return [(first, 0.0), *((s, gain) for s, gain in points if gain is not None)]


def time_to(row: Row, gain: float) -> float | None:
    """Device seconds until a campaign's verified gain was as large; None if it never was."""
    return next((seconds for seconds, own in verified_course(row) if own >= gain), None)


def time_to_tpe(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """By arm of plain TPE and length: its verified gain and device time, means over campaigns, and
    the share of that time after which each campaign of the tuner, and of deck and tuner, had come
    as far."""
    found = []
    for arm in (TPE, TPE_STATED):
        for trials in arm.trials:
            own = [row for row in rows if (row["arm"], row["trials"]) == (arm.name, trials)]
            gains = [final_of(row)["mean"] for row in own]
            known = [gain for gain in gains if gain is not None]
            if not known:
                continue
            gain, seconds = fmean(known), fmean(row["course"][-1]["seconds"] for row in own)
            times = {
                f"{row['arm']}, seed {row['seed']}": time_to(row, gain)
                for row in longest(rows)
                if row["arm"] in (TUNER.name, PRIOR.name)
            }
            shares = {name: t and round(t / seconds, 3) for name, t in times.items()}
            of = {"arm": arm.name, "trials": trials, "verified": round(gain, 5)}
            of |= {"device_seconds": round(seconds, 1)}
            found.append(of | {"share_of_its_time": shares})
    return found


def paired(rows: Sequence[Row], arm: str) -> dict[str, Any] | None:
    """Verified gain with the prior less that of another draw, same seeds, with its interval; None
    without a pair."""
    length = PRIOR.trials[0]
    finals = {
        (row["arm"], row["seed"]): final_of(row)["mean"]
        for row in rows
        if row["trials"] == length and row["arm"] in (PRIOR.name, arm)
    }
    seeds = sorted(seed for name, seed in finals if name == arm and (PRIOR.name, seed) in finals)
    pairs = [(finals[PRIOR.name, seed], finals[arm, seed]) for seed in seeds]
    gaps = [one - two for one, two in pairs if one is not None and two is not None]
    if not gaps:
        return None
    told: dict[str, Any] = {"seeds": seeds, "each": [round(gap, 5) for gap in gaps]}
    told["mean"] = round(fmean(gaps), 5)
    if len(gaps) > 1:
        found = interval(gaps)
        told |= {"low": round(found.low, 5), "high": round(found.high, 5)}
    return told


# --- in words ---

HEAD = (
    "| arm | seed | trials | device minutes | kept | claimed | verified | of the distance |\n"
    "|---|---|---|---|---|---|---|---|"
)


def markdown(found: dict[str, Any], issue: str = "all") -> str:
    """The table of ``summary`` in Markdown, gains in bits per byte."""
    names = ARMS if issue == "all" else [arm.name for arm in OF_ISSUE[issue]]
    lines = [HEAD]
    for arm in found["arms"]:
        if arm["arm"] in names:
            lines += [_line(arm, one) for one in arm["campaigns"]]
    if found["distance"]:
        lines += ["", f"From the plain start to the shipped train.py: {around(found['distance'])}."]
    return "\n".join(lines)


def _line(arm: dict[str, Any], one: dict[str, Any]) -> str:
    share = one["share_closed"]
    cells = (
        arm["arm"],
        one["seed"],
        arm["trials"],
        f"{one['device_seconds'] / 60:.1f}",
        one["kept"],
        f"{one['claimed']:.4f}{' (too high)' if one['claims_too_much'] else ''}",
        around(one["verified"]),
        f"{share['mean']:.0%}" if share else "",
    )
    return f"| {' | '.join(map(str, cells))} |"


def around(gain: dict[str, Any]) -> str:
    """A gain and its interval."""
    if gain["mean"] is None:
        return "could not be trained again"
    if gain["low"] is None:
        return f"{gain['mean']:.4f}"
    return f"{gain['mean']:.4f} ({gain['low']:.4f} to {gain['high']:.4f})"
