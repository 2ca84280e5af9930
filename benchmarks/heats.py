"""What training side by side brings: noise of differences, false keeps, power, the cost of turns.

    python -m benchmarks.heats --json     a few trainings, beside what was recorded (3 minutes)
    python -m benchmarks.heats --full     all parts (over two hours); goes on where it stopped
    python -m benchmarks.heats --full --parts nulls edits
    python -m benchmarks.heats --analyse  only the figures, from the readings that are there

Parts of ``--full``, each reading kept in results/heats-readings.jsonl as soon as it is there:

nulls   heats of a champion, itself with another seed, and itself with a constant times 1 + 1e-6
edits   eight edits against one champion: one after the other, in turns, in turns with one seed
turns   steps a second in a heat of two against alone

A neighbour (benchmarks/neighbour.py) takes processors meanwhile, except where a reading is
``quiet``; what other people run on the machine is not under control. Readings belong to one
machine, to the files that they train and to the length of turns. What they come to is in
results/heats.json; rules are compared by resampling the null heats, ten thousand campaigns each (a
quarter of an hour).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from agent.campaign.evidence import noise_guess
from agent.campaign.state import State
from benchmarks import heats_analysis as analysis
from benchmarks.heats_abandoning import abandoning
from benchmarks.heats_keeps import compared
from benchmarks.heats_plan import (
    NULL_SECONDS,
    PARTS,
    Case,
    Entry,
    Run,
    cases,
    code_of,
    runs,
    vocab_size,
)
from benchmarks.machine import RESULTS, keep, stamp
from benchmarks.neighbour import neighbour
from trainer.data.prepare import DataError
from trainer.measure import Measurement, heat
from trainer.presets import BadSetting, load_presets
from trainer.sandbox.confine import SandboxError

READINGS = "heats-readings.jsonl"
WINDOWS = 20
"""Into so many equal windows of the budget the curve of the training loss is reduced."""
_KEPT = (
    "status", "reason", "val_bpb", "leak_bound_bpb", "steps", "tokens", "params", "seed", "how",
    "startup_seconds", "train_seconds", "score_seconds", "peak_memory_mb",
)  # fmt: skip

Reading = dict[str, Any]


# --- trainings ---


def reduced(curve: Sequence[tuple[float, int, float]], seconds: float) -> list[float | None]:
    """Mean training loss, nats per token, in each window of the budget; None where none was told.

    What comes later than the budget counts for the last window.
    """
    windows: list[list[float]] = [[] for _ in range(WINDOWS)]
    for at, _, loss in curve:
        windows[min(WINDOWS - 1, int(WINDOWS * at / seconds))].append(loss)
    return [round(fmean(window), 4) if window else None for window in windows]


def training(entry: Entry, measured: Measurement, seconds: float) -> dict[str, Any]:
    """What is kept of one training."""
    kept = {name: getattr(measured, name) for name in _KEPT}
    about = {"role": entry.role, "vocab_size": vocab_size(entry.source)}
    return about | kept | {"curve": reduced(measured.curve, seconds)}


def trained(run: Run, seconds: float) -> dict[str, Any]:
    """One run, and how busy the machine was meanwhile."""
    load, began = psutil.cpu_times(), time.monotonic()
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    measured = heat(
        [entry.source for entry in run],
        seed=[entry.seed for entry in run],
        budget=f"{seconds:g}s",
        preset="cpu",
        device="cpu",
    )
    return {
        "date": date,
        "wall_seconds": measured[0].wall_seconds,
        "call_seconds": round(time.monotonic() - began, 3),
        **shares(load, psutil.cpu_times()),
        "trainer": measured[0].fingerprint["trainer"],
        "trainings": [
            training(entry, each, seconds) for entry, each in zip(run, measured, strict=True)
        ],
    }


def shares(before: Any, after: Any) -> dict[str, float]:
    """Share of processor time that was used, and that a virtual machine did not get."""
    spent = {name: getattr(after, name) - getattr(before, name) for name in after._fields}
    total = sum(spent.values()) or 1.0
    idle = spent["idle"] + spent.get("iowait", 0.0)
    return {
        "busy": round(1 - idle / total, 3),
        "stolen": round(spent.get("steal", 0.0) / total, 3),
    }


def read(case: Case) -> Reading:
    """One reading, with the neighbour that belongs to it."""
    with neighbour(case.key) if case.neighbour else contextlib.nullcontext():
        done = [trained(run, case.seconds) for run in runs(case)]
    return asdict(case) | {"code": code_of(case), "runs": done}


# --- readings ---


def read_file(path: Path) -> list[Reading]:
    """All readings of a file; a last line that a kill cut short is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def append(path: Path, reading: Reading) -> None:
    """Write one reading, at once, on a line of its own."""
    path.parent.mkdir(exist_ok=True)
    cut_short = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * cut_short + json.dumps(reading) + "\n")


def case_of(reading: Reading) -> Case:
    return Case(**{name: reading[name] for name in Case.__annotations__})


def to_do(parts: Sequence[str], readings: Sequence[Reading], machine: str) -> list[Case]:
    """What is not there yet, from this machine and of these files."""
    taken = {(case_of(r), r["code"]) for r in readings if r["machine"] == machine}
    return [case for case in cases(parts) if (case, code_of(case)) not in taken]


def collect(parts: Sequence[str], machine: str, path: Path) -> int:
    """Take the readings that are not there yet, keeping each; returns how many failed."""
    todo, failed = to_do(parts, read_file(path), machine), 0
    for number, case in enumerate(todo, 1):
        began = time.monotonic()
        try:
            reading = read(case)
        except (BadSetting, DataError, SandboxError) as error:
            print(f"left out, to be taken by the next call: {case.key}: {error}", file=sys.stderr)
            failed += 1
            continue
        append(path, {"machine": machine} | reading)
        took = time.monotonic() - began
        print(f"{number} of {len(todo)}: {case.key}, {took:.0f} s", file=sys.stderr, flush=True)
    return failed


# --- what it comes to ---


def latest(readings: Sequence[Reading], machine: str) -> list[Reading]:
    """This machine's readings; of one case the last, since the files may have changed."""
    return list({case_of(r): r for r in readings if r["machine"] == machine}.values())


def counts(readings: Sequence[Reading]) -> dict[str, Any]:
    """How many readings there are, and how many of them are of no use."""
    parts = analysis.grouped(readings, lambda r: f"{r['part']}, {analysis.company(r)}")
    return {
        name: {"readings": len(group), "unsound": sum(not analysis.is_sound(r) for r in group)}
        for name, group in parts.items()
    }


def figures(readings: Sequence[Reading], campaigns: int) -> dict[str, Any]:
    """All that the readings say; ``campaigns`` is how many are resampled for each rule."""
    heats = analysis.null_heats(readings)
    preset = load_presets()["cpu"]
    begins = State(settings={"budget": f"{NULL_SECONDS}s"})
    start = {
        "numeric": noise_guess(begins, "numbers", preset),
        "structural": noise_guess(begins, "structure", preset),
    }
    return {
        "counts": counts(readings),
        "noise": analysis.noise_table(readings),
        "nulls": analysis.null_spread(heats),
        "pace_within_heats": analysis.pace_within_heats(readings),
        "turns": analysis.turn_cost(readings),
        "early_losses": analysis.early_losses(readings),
        "abandoning": abandoning(readings) if len(heats) > 1 else {},
        "rules": compared(heats, start, campaigns) if len(heats) > 1 and campaigns else {},
    }


def short() -> dict[str, Any]:
    """A few trainings now, beside what was recorded."""
    wanted = [
        Case("nulls", "as shipped", 0, 2.5, True),
        Case("nulls", "as shipped", 1, 2.5, True),
        Case("edits", "MLP_RATIO 3", 0, 5, True),
        Case("turns", "alone", 0, 5, False),
    ]
    readings = [read(case) for case in wanted]
    null, edit = analysis.null_heats(readings), readings[2]
    path = RESULTS / "heats.json"
    full = json.loads(path.read_text()) if path.exists() else {}
    told = ("date", "command", "machine", "counts", "noise", "turns", "rules")
    return {
        "measured_now": {
            "counts": counts(readings),
            "null_differences": [each.difference("structural") for each in null],
            "edit_differences": dict(zip(analysis.WAYS, analysis.ways(edit), strict=True)),
            "turns": analysis.turn_cost(readings),
        },
        "recorded": {name: full[name] for name in told if name in full} or "never run",
    }


# --- running ---


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--analyse", action="store_true", help="only what readings come to")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of --full")
    parser.add_argument("--campaigns", type=int, default=10_000, help="resampled for each rule")
    args = parser.parse_args()
    chosen = "--full" if args.full else "--analyse" if args.analyse else "--json"
    result, path, left_out = stamp(f"python -m benchmarks.heats {chosen}"), RESULTS / READINGS, 0
    machine = result["machine"]
    try:
        if args.full:
            left_out = collect(args.parts, machine, path)
        if args.full or args.analyse:
            result |= figures(latest(read_file(path), machine), args.campaigns)
            keep("heats", result)
        else:
            result |= short()
    except (BadSetting, DataError, SandboxError) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(result | {"left_out": left_out}))
    raise SystemExit(1 if left_out else 0)


if __name__ == "__main__":
    main()
