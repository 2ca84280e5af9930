"""The landscape's command line; see the docstring of the package."""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import benchmarks.landscape as package
from benchmarks.landscape import plan
from benchmarks.landscape.record import ROUNDS, Group, record, train
from benchmarks.landscape.table import FILE, OK, Landscape, RecordedEdit
from benchmarks.machine import keep, stamp
from trainer.data.prepare import DataError
from trainer.presets import BadSetting
from trainer.sandbox.confine import SandboxError

MEASURED_NOW = ("plain/constant/LEARNING_RATE 0.006", "plain/null/another seed 0")


def summary(landscape: Landscape) -> dict[str, Any]:
    """What is recorded: how many edits, how they ended, what they were worth; bits per byte."""
    edits = landscape.edits
    return {
        "edits": len(edits),
        "readings": sum(len(edit.heats) for edit in edits),
        "of": dict(Counter(f"{edit.start}/{edit.origin}" for edit in edits)),
        "statuses": dict(Counter(heat.status for edit in edits for heat in edit.heats)),
        "starts": {start: _of_start(landscape, start) for start in plan.STARTS},
    }


def _of_start(landscape: Landscape, start: str) -> dict[str, Any]:
    """Nulls beside what was gained, by category."""
    by_category: dict[str, list[RecordedEdit]] = defaultdict(list)
    for edit in landscape.select(start, ("deck", "constant")):
        by_category[edit.category].append(edit)
    nulls = [d for edit in landscape.select(start, ("null",)) for d in edit.differences]
    return {
        "nulls": {
            "mean": round(fmean(nulls), 5) if nulls else None,
            "sd": round(stdev(nulls), 5) if len(nulls) > 1 else None,
        },
        "categories": {name: _of(by_category[name]) for name in sorted(by_category)},
    }


def _of(edits: list[RecordedEdit]) -> dict[str, Any]:
    scored = [edit for edit in edits if edit.mean is not None]
    best = max(scored, key=lambda edit: edit.mean or 0.0, default=None)
    return {
        "edits": len(edits),
        "failed": len(edits) - len(scored),
        "mean": round(fmean(edit.mean or 0.0 for edit in scored), 5) if scored else None,
        "best": [best.name, round(best.mean or 0.0, 5)] if best else None,
    }


def measured_now(machine: str) -> dict[str, Any]:
    """One heat of the plain start and two edits of it."""
    start = "plain"
    known = {s.planned.name: s.planned for s in plan.constants_of(start)}
    known |= {one.name: one for one in plan.nulls(start)}
    heat = train(Group(start, 0, tuple(known[name] for name in MEASURED_NOW)), machine)
    found = {edit.name: edit for edit in Landscape.of([heat]).edits}
    return {
        "base": {name: heat["base"][name] for name in ("status", "val_bpb", "steps")},
        "edits": {
            name: {"difference": found[name].mean, "status": found[name].heats[0].status}
            for name in MEASURED_NOW
            if name in found
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(package.__doc__).splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--file", type=Path, default=FILE, help="where the heats are recorded")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="readings of each edit")
    args = parser.parse_args()
    result = stamp(f"python -m benchmarks.landscape --{'full' if args.full else 'json'}")
    failed = 0
    try:
        if args.full:
            failed = record(plan.edits(), result["machine"], args.file, args.rounds)
            result |= {"recorded": summary(Landscape.load(args.file)), "left_out": failed}
            if args.file == FILE:
                keep("landscape", result)
        else:
            now = measured_now(result["machine"])
            failed = now["base"]["status"] != OK
            recorded = summary(Landscape.load(args.file)) if args.file.exists() else "never run"
            result |= {"measured_now": now, "recorded": recorded}
    except (BadSetting, DataError, SandboxError) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(result))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
