"""The search benchmark's command line; see the docstring of the package."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import benchmarks.search as package
from benchmarks.machine import RESULTS, keep, stamp
from benchmarks.search.arms import ARMS, BUDGET, DISTANCE, OF_ISSUE, SEEDS, Job, plan
from benchmarks.search.lines import read_lines
from benchmarks.search.picture import draw
from benchmarks.search.real import FILE, START, Sitting, work_folder
from benchmarks.search.table import markdown, summary

SIMULATED = ("numbers", "memory")
"""Modules whose ``table(seeds)`` simulates searches on the recorded landscape."""
FEW, MANY = 2, 200
"""Seeds of the simulated tables: in the short mode, and as evidence."""


def simulated(seeds: int) -> dict[str, Any]:
    """The simulated tables, by module."""
    names = {name: f"{package.__name__}.{name}" for name in SIMULATED}
    there = {name: full for name, full in names.items() if importlib.util.find_spec(full)}
    return {name: importlib.import_module(full).table(seeds) for name, full in there.items()}


def publish(stamped: dict[str, Any], file: Path, tables: dict[str, Any] | None) -> dict[str, Any]:
    """Write results/search.json and the picture from what is recorded; returns the real part.

    Args:
        tables: the simulated ones; None to leave those that are there.
    """
    rows = read_lines(file)
    real = summary(rows)
    path = RESULTS / "search.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = {"real": real, "simulated": before.get("simulated") if tables is None else tables}
    keep("search", stamped | kept)
    draw(rows, RESULTS / "search.svg")
    return real


def main() -> None:
    parser = argparse.ArgumentParser(
        description=str(package.__doc__).splitlines()[0],
        epilog=f"arms: {', '.join(ARMS)}; and {DISTANCE}",
    )
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--arms", choices=[*OF_ISSUE, "all"], default="all")
    parser.add_argument("--only", choices=[*ARMS, DISTANCE], default="", help="one arm")
    parser.add_argument("--simulated", action="store_true", help="with --full: these tables only")
    parser.add_argument("--markdown", action="store_true", help="print the table of what is there")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--budget", default=BUDGET, help="of a training")
    parser.add_argument("--trials", type=int, help="in place of the arms' own, if these are more")
    parser.add_argument("--file", type=Path, default=FILE, help="where campaigns are recorded")
    parser.add_argument("--work", type=Path, default=work_folder(), help="where they run")
    parser.add_argument("--start", type=Path, default=START, help="the file they start from")
    args = parser.parse_args()
    if args.markdown:
        return print(markdown(summary(read_lines(args.file)), args.arms))
    result = stamp(f"python -m benchmarks.search --{'full' if args.full else 'json'}")
    failed, tables = 0, None
    if args.full and args.simulated:
        tables = simulated(MANY)
    elif args.full:
        jobs = plan(args.arms, args.only, args.seeds, args.budget)
        if args.trials is not None:
            short = [Job(j.arm, j.seed, min(j.trials, args.trials), j.budget) for j in jobs]
            jobs = list(dict.fromkeys(short))
        sitting = Sitting(jobs, args.file, args.work, args.start.resolve())
        failed = sitting.run()
        result |= {"failed": failed, "left": len(sitting.left())}
    if args.full and args.file == FILE:
        result |= publish(result, args.file, tables)
    else:
        result |= {"recorded": summary(read_lines(args.file))}
    if not args.full:
        result |= {"simulated_now": simulated(FEW)}
    print(json.dumps(result))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
