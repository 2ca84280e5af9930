"""The command line of the benchmark of throughput; see the docstring of the package."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import benchmarks.throughput as package
from benchmarks.machine import RESULTS, keep, stamp
from benchmarks.search.lines import append_line, read_lines
from benchmarks.throughput import widths

FILE = RESULTS / "throughput.jsonl"
Reading = Callable[[], Any]
Readings = Mapping[str, Reading]
CAMPAIGNS, FEW = 2000, 20


def parts(full: bool) -> dict[str, Readings]:
    """By part: its readings, each by its name."""
    campaigns = CAMPAIGNS if full else FEW
    return {
        "widths": {rule: _width(rule, campaigns) for rule in widths.RULES},
    }


def _width(rule: str, campaigns: int) -> Reading:
    return lambda: widths.measured(rule, campaigns)


def take(
    wanted: Mapping[str, Readings], command: str, path: Path | None
) -> dict[str, dict[str, Any]]:
    """All readings, those that are in the file as they are there."""
    rows = {(row["part"], row["name"]): row for row in read_lines(path)} if path else {}
    found: dict[str, dict[str, Any]] = {}
    for part, readings in wanted.items():
        for name, read in readings.items():
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
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=str(package.__doc__).splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--parts", nargs="+", choices=sorted(parts(full=True)), help="only these")
    args = parser.parse_args()
    chosen = parts(args.full)
    command = f"python -m benchmarks.throughput --{'full' if args.full else 'json'}"
    if args.parts:
        chosen = {name: chosen[name] for name in chosen if name in args.parts}
        command += f" --parts {' '.join(chosen)}"
    result = stamp(command)
    result |= summary(take(chosen, command, FILE if args.full else None))
    if args.full:
        path = RESULTS / "throughput.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        keep("throughput", before | result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
