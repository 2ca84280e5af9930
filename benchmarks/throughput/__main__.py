"""The command line of the benchmark of throughput; see the docstring of the package."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks.throughput as package
from benchmarks.machine import RESULTS, stamp
from benchmarks.search.lines import append_line, read_lines
from benchmarks.throughput import growth, hidden, nodes, real, widths, workers

FILE = RESULTS / "throughput.jsonl"
Reading = Callable[[], Any]
Readings = Mapping[str, Reading]
PARTS = ("widths", "real", "hidden", "growth", "workers", "nodes")
CAMPAIGNS, FEW = 2000, 10
SIMULATED = 200
"""Campaigns of the real trials."""
HIDDEN, SHORT = (20.0, 20.0, 6), (2.0, 2.0, 2)
"""Seconds until a model answers, seconds of a training, trials."""
MANY, LONG, BRIEF = (64, 512), 2000, 100
"""Workers that only wait, and the trials that they do."""


def readings_of(part: str, full: bool, command: str) -> Readings:
    """The readings of a part, each by its name."""
    match part:
        case "widths":
            campaigns = CAMPAIGNS if full else FEW
            return {rule: partial(widths.measured, rule, campaigns) for rule in widths.RULES}
        case "real":
            rounds, trials = (real.ROUNDS, real.TRIALS) if full else (1, real.FEW)
            file = FILE if full else None
            own: dict[str, Reading] = {
                f"round {number + 1}": partial(_real, number, trials, command, file)
                for number in range(rounds)
            }
            return own | ({"simulated": partial(real.simulated, SIMULATED)} if full else {})
        case "hidden":
            ways = list(hidden.WAYS) if hidden.can_draft_ahead() else list(hidden.WAYS)[:1]
            ways = ways if full else ways[:2]
            return {
                way: partial(hidden.measured, way, *(HIDDEN if full else SHORT)) for way in ways
            }
        case "workers":
            counts, trials = (MANY, LONG) if full else (MANY[:1], BRIEF)
            return {
                f"{count} workers": partial(workers.measured, count, trials) for count in counts
            }
        case "nodes":
            short = {nodes.KINDS[0]: (nodes.FEW, nodes.SHORT)}
            return {
                f"{kind}, {count} node{'s' * (count > 1)}": partial(
                    nodes.measured, kind, count, *how
                )
                for kind, how in (nodes.FULL if full else short).items()
                for count in (1, 2)
            }
        case _:
            pasts = growth.PASTS if full else growth.FEW_PASTS
            return {
                f"{past:,} trials before": partial(growth.in_new_folder, past) for past in pasts
            }


def _real(number: int, trials: int, command: str, path: Path | None) -> dict[str, Any]:
    """Each heat is on disk as soon as it is over; those that are there are not done again."""
    rows = read_lines(path) if path else []

    def campaign(width: int) -> real.RealHeats:
        part = f"heats of {width}, round {number + 1}"
        done = [row["found"] for row in rows if row["part"] == part]

        def record(heat: dict[str, Any]) -> None:
            print(f"{part}: {heat}", file=sys.stderr, flush=True)
            if path:
                row = {"part": part, "name": str(heat["trials"]), **stamp(command)}
                append_line(path, row | {"found": heat})

        return real.RealHeats(width, done, record, trials, number)

    campaigns = [campaign(width) for width in real.WIDTHS]
    real.in_turns(campaigns)
    return {one.name: real.told(one) for one in campaigns}


def take(parts: Sequence[str], full: bool, command: str) -> dict[str, dict[str, Any]]:
    """All readings, those that are in the file as they are there."""
    path = FILE if full else None
    rows = {(row["part"], row["name"]): row for row in read_lines(path)} if path else {}
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, read in readings_of(part, full, command).items():
            row = rows.get((part, name))
            if row is None:
                print(f"{part}: {name}", file=sys.stderr, flush=True)
                row = {"part": part, "name": name, **stamp(command), "found": read()}
                if path:
                    append_line(path, row)
            found.setdefault(part, {})[name] = row["found"]
    return found


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the readings say, part by part."""
    told = {part: dict(readings) for part, readings in found.items()}
    if "widths" in found:
        told["widths"] |= widths.compared(found["widths"])
    if "real" in found:
        rounds = (own for name, own in found["real"].items() if name.startswith("round"))
        told["real"] |= real.together(rounds)
    for kind in nodes.KINDS:
        own = [
            each["verdicts_an_hour"]
            for name, each in found.get("nodes", {}).items()
            if name.startswith(kind)
        ]
        if len(own) > 1:
            told["nodes"][f"{kind}, times one node"] = round(own[1] / own[0], 3)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=str(package.__doc__).splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    args = parser.parse_args()
    command = f"python -m benchmarks.throughput --{'full' if args.full else 'json'}"
    if len(args.parts) < len(PARTS):
        command += f" --parts {' '.join(args.parts)}"
    result = stamp(command)
    result |= summary(take(args.parts, args.full, command))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
