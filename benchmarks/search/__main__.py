"""The search benchmark's command line; see the docstring of the package."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import benchmarks.search as package
from benchmarks.machine import stamp
from benchmarks.search.arms import ARMS, BUDGET, DISTANCE, OF_ISSUE, SEEDS, Job, plan
from benchmarks.search.lines import read_lines
from benchmarks.search.real import FILE, START, Sitting, work_folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=str(package.__doc__).splitlines()[0],
        epilog=f"arms: {', '.join(ARMS)}; and {DISTANCE}",
    )
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--arms", choices=[*OF_ISSUE, "all"], default="all")
    parser.add_argument("--only", choices=[*ARMS, DISTANCE], default="", help="one arm")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--budget", default=BUDGET, help="of a training")
    parser.add_argument("--trials", type=int, help="in place of the arms' own")
    parser.add_argument("--file", type=Path, default=FILE, help="where campaigns are recorded")
    parser.add_argument("--work", type=Path, default=work_folder(), help="where they run")
    parser.add_argument("--start", type=Path, default=START, help="the file they start from")
    args = parser.parse_args()
    result = stamp(f"python -m benchmarks.search --{'full' if args.full else 'json'}")
    failed = 0
    if args.full:
        jobs = plan(args.arms, args.only, args.seeds, args.budget)
        if args.trials is not None:
            short = [Job(j.arm, j.seed, min(j.trials, args.trials), j.budget) for j in jobs]
            jobs = list(dict.fromkeys(short))
        sitting = Sitting(jobs, args.file, args.work, args.start.resolve())
        failed = sitting.run()
        result |= {"failed": failed, "left": len(sitting.left())}
    result |= {"recorded": len(read_lines(args.file))}
    print(json.dumps(result))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
