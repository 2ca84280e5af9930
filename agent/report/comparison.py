"""Campaigns side by side: what ``list`` and ``compare`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from agent.campaign.state import State
from agent.report.columns import cut, hung, table
from agent.report.text import clock, signed
from agent.report.view import Gain, View
from trainer.untrusted import one_line

HIDDEN = ("tag", "pid", "start_source")
"""Settings that differ in any two campaigns, or are a whole file."""
MEASURED_BY = ("preset", "budget", "data", "device", "start", "base", "objective")
"""Where one of them differs, gains are not of the same thing."""
LABEL, GAP, NARROWEST, WIDEST = 12, 2, 18, 30
"""Columns for what a line is, between campaigns, and for one of these."""


def entry(shown: View, state: State) -> dict[str, Any]:
    """A campaign in ``list --json`` and ``compare --json``; None for what is not known."""
    run, verified = shown.run, shown.found.verified
    return {
        "tag": run.tag,
        "state": run.state,
        "trials": run.trials,
        "kept": run.kept,
        "reverted": run.reverted,
        "rejected": run.rejected,
        "claimed": _gain_json(shown.found.claimed),
        "verified": _gain_json(verified.gain if verified else None),
        "verified_trial": verified.trial if verified else None,
        "verified_is_of_champion": verified.is_of_champion if verified else None,
        "device_seconds": shown.cost.trained_seconds,
        "cost_usd": shown.cost.usd,
        "tokens": shown.cost.tokens,
        "settings": _settings(state, run.objective),
    }


def _settings(state: State, objective: str) -> dict[str, Any]:
    known = {k: v for k, v in state.settings.items() if k not in HIDDEN and v not in (None, "")}
    return known | ({"objective": objective} if objective else {})


def _gain_json(gain: Gain | None) -> dict[str, float | None] | None:
    return {"mean": gain.mean, "low": gain.low, "high": gain.high} if gain else None


def list_lines(entries: Sequence[Mapping[str, Any]], columns: int) -> Iterator[Text]:
    """A line for each; below them, what is wrong with those that cannot be read.

    No tag is cut, since other commands ask for it: one that is too long has a line of its own.
    """
    names = ("campaign", "state", "trials", "kept", "claimed", "verified", "device", "cost")
    read = [one for one in entries if "error" not in one]
    rows = [names, *map(_row, read)] if read else []
    others = list(zip(*rows, strict=True))[1:]
    room = columns - sum(max(map(cell_len, cells)) + GAP for cells in others)
    tags = [row[0] if cell_len(row[0]) > room else "" for row in rows]
    short = [("", *row[1:]) if tag else row for tag, row in zip(tags, rows, strict=True)]
    for tag, line in zip(tags, table(short, columns), strict=True):
        if tag:
            yield from hung("", tag, columns)
        yield line
    for one in entries:
        if "error" in one:
            yield from hung(f"{one['tag']}  ", one_line(one["error"], 1000), columns, "red")
    if not entries:
        yield Text("no campaign yet; start one: python -m agent run")


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    verified = signed(one["verified"]["mean"]) if one["verified"] else "not yet"
    return (
        one["tag"],
        one["state"],
        str(one["trials"]),
        str(one["kept"]),
        signed(one["claimed"]["mean"]) if one["claimed"] else "none",
        verified if one["verified_is_of_champion"] in (True, None) else f"{verified} before",
        clock(one["device_seconds"]),
        _dollars(one),
    )


def _dollars(one: Mapping[str, Any]) -> str:
    return "not reported" if one["cost_usd"] is None else f"${one['cost_usd']:.2f}"


def differing(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """By setting that is not the same in all: its value in each, None without one."""
    names = dict.fromkeys(name for one in entries for name in one["settings"])
    values = {name: [one["settings"].get(name) for one in entries] for name in names}
    return {name: found for name, found in values.items() if any(v != found[0] for v in found)}


def compare_lines(entries: Sequence[Mapping[str, Any]], columns: int) -> Iterator[Text]:
    """A column for each, as many beside each other as have room."""
    differ = differing(entries)
    rows = {
        "trials": [_trials(one) for one in entries],
        "kept": [str(one["kept"]) for one in entries],
        "claimed": [_gain(one["claimed"]) or "nothing" for one in entries],
        "verified": [_gain(one["verified"]) or "not yet" for one in entries],
        "": ["" if of_champion(one) else f"of trial {one['verified_trial']}" for one in entries],
        "device time": [clock(one["device_seconds"]) for one in entries],
        "cost": [_dollars(one) for one in entries],
        **{name: [_setting(name, value) for value in values] for name, values in differ.items()},
    }
    room = columns - LABEL - GAP
    longest = max(cell_len(cell) for cells in rows.values() for cell in cells)
    size = min(max(longest, NARROWEST), WIDEST, room)
    beside = max(1, (room + GAP) // (size + GAP))
    for first in range(0, len(entries), beside):
        chosen = slice(first, first + beside)
        if first:
            yield Text()
        yield _line("", [one["tag"] for one in entries[chosen]], size, "bold")
        for label, cells in rows.items():
            if any(cells[chosen]):
                yield _line(label, cells[chosen], size)
    if by := [name for name in MEASURED_BY if name in differ]:
        told = f"not the same: {', '.join(by)}; gains are not gains of the same thing"
        yield from hung("", told, columns, "yellow")


def of_champion(one: Mapping[str, Any]) -> bool:
    """Whether what was verified, if anything was, is the champion of now."""
    return one["verified"] is None or bool(one["verified_is_of_champion"])


def _line(label: str, cells: Sequence[str], size: int, style: str = "") -> Text:
    parts = [cut(one_line(label, LABEL), LABEL, pad=True)]
    parts += [cut(one_line(cell), size, pad=True) for cell in cells]
    line = Text(" " * GAP).join(parts)
    line.rstrip()
    line.stylize(style)
    return line


def _trials(one: Mapping[str, Any]) -> str:
    return f"{one['trials']}: {one['reverted']} reverted, {one['rejected']} rejected"


def _gain(gain: Mapping[str, float | None] | None) -> str:
    """``+0.0123 ± 0.0023``; "" without one."""
    if gain is None or gain["mean"] is None:
        return ""
    low, high = gain["low"], gain["high"]
    half = "" if low is None or high is None else f" ± {(high - low) / 2:.4f}"
    return signed(gain["mean"]) + half


def _setting(name: str, value: Any) -> str:
    return "" if value is None else str(value)[:7] if name == "base" else str(value)
