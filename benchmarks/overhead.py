"""What measuring costs beside the training itself: turnaround, scoring, the sandbox.

    python -m benchmarks.overhead --json            10 pairs of short trainings (about 2 minutes)
    python -m benchmarks.overhead --full            30 pairs of longer ones, kept in results/
    python -m benchmarks.overhead --reference PATH  also a port of the ancestor's train.py

A pair is the same training twice, confined and not, in turns first. Turnaround is from the moment
that one training's weights are there to the end of the next one's first step, scoring taken off:
killing, collecting, starting, confining, building the model, and that step itself. A reference is a
program that trains for ``TIME_BUDGET`` seconds (environment), scores itself on the validation text
of the cpu preset, and prints a line of JSON with ``training_seconds`` and ``evaluation_bytes`` last
on stdout; without one, what was recorded is reported and so labelled. ``--full`` goes on where an
interrupted one stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.measure import measure
from trainer.presets import find_preset
from trainer.sandbox.client import environment

TRAIN_FILE = ROOT / "trainer" / "train.py"
REFERENCE_BUDGET_SECONDS = 5
TURNAROUND_BOUND, SCORING_BOUND = 0.5, 3.0  # seconds
UNFINISHED = "overhead-unfinished"

Reading = dict[str, Any]


# --- what is measured ---


def training(isolation: str, budget: str) -> Reading:
    """One training by ``measure``; moments are of this process's monotonic clock, in seconds."""
    seen: dict[str, float] = {}

    def note(event: dict[str, Any]) -> None:
        seen.setdefault(event["event"], time.monotonic())

    called = time.monotonic()
    measured = measure(
        TRAIN_FILE.read_text(),
        budget=budget,
        preset="cpu",
        device="cpu",
        isolation=isolation,
        on_event=note,
    )
    took = time.monotonic() - called
    if measured.status != "ok":
        raise SystemExit(f"error: the training to be timed is {measured.status}: {measured.reason}")
    return {
        "isolation": measured.isolation,
        "first_step_at": seen["log"],
        "weights_at": seen["ready"] + measured.train_seconds,
        "startup_seconds": measured.startup_seconds,
        "train_seconds": measured.train_seconds,
        "score_seconds": measured.score_seconds,
        "all_seconds": took,
    }


def pair(first: str, budget: str, before: Reading) -> list[Reading]:
    """The same training confined and not, beginning with ``first``; each with its turnaround."""
    readings = []
    for isolation in (first, "off" if first == "auto" else "auto"):
        reading = training(isolation, budget)
        waited = reading["first_step_at"] - before["weights_at"] - before["score_seconds"]
        readings.append(reading | {"turnaround_seconds": waited})
        before = reading
    return readings


def beside_reference(path: Path, reference_first: bool) -> Reading:
    """Seconds outside the budget: of the reference, of ``python -m trainer``, of a warm training.

    The reference starts a new interpreter for each experiment; a campaign here does not.
    """
    runs = [lambda: _reference(path), _trainer, _warm]
    outside: Reading = {}
    for run in runs if reference_first else reversed(runs):
        outside |= run()
    return outside


def _reference(path: Path) -> Reading:
    env = {**os.environ, "TIME_BUDGET": str(REFERENCE_BUDGET_SECONDS), "PYTHONPATH": str(ROOT)}
    env["GOMP_SPINCOUNT"] = environment()["GOMP_SPINCOUNT"]
    wall, said = _timed([sys.executable, str(path)], env)
    if said.get("evaluation_bytes") != find_preset("cpu").val_bytes:
        raise SystemExit(
            f"error: {path.name} scores {said.get('evaluation_bytes')} bytes of text, "
            f"the cpu preset {find_preset('cpu').val_bytes}: overheads cannot be compared"
        )
    kept = {name: said[name] for name in said if name.endswith("_seconds")}
    return {"reference_seconds": wall - said["training_seconds"], "reference": kept}


def _trainer() -> Reading:
    budget = f"{REFERENCE_BUDGET_SECONDS}s"
    command = [sys.executable, "-m", "trainer", "--preset", "cpu", "--budget", budget, "--json"]
    wall, said = _timed(command, dict(os.environ))
    return {"cold_seconds": wall - said["train_seconds"]}


def _warm() -> Reading:
    reading = training("auto", f"{REFERENCE_BUDGET_SECONDS}s")
    return {"warm_seconds": reading["all_seconds"] - reading["train_seconds"]}


def _timed(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
    """Wall seconds of a program, and the JSON in its last line."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    wall = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(f"error: {Path(command[1]).name} failed:\n{done.stderr[-2000:]}")
    return wall, json.loads(done.stdout.splitlines()[-1])


# --- what it comes to ---


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, how many."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return {
        "median": round(middle, 4),
        "quartiles": [round(low, 4), round(high, 4)],
        "n": len(values),
    }


def _bound(value: float, bound: float) -> dict[str, Any]:
    return {"bound": bound, "within_bound": value <= bound}


def summary(pairs: Sequence[Sequence[Reading]]) -> dict[str, Any]:
    """Turnaround and scoring of confined trainings, and what confinement adds, by pairs."""
    by_pair = [{reading["isolation"]: reading for reading in readings} for readings in pairs]
    level = next(name for name in by_pair[0] if name != "off")
    confined = [both[level] for both in by_pair]
    open_ = [both["off"] for both in by_pair]

    def column(name: str) -> list[float]:
        return [reading[name] for reading in confined]

    def against(name: str) -> list[tuple[float, float]]:
        return [(a[name], b[name]) for a, b in zip(confined, open_, strict=True)]

    turnaround, scoring = column("turnaround_seconds"), column("score_seconds")
    return {
        "isolation": level,
        "turnaround_seconds": spread(turnaround) | _bound(median(turnaround), TURNAROUND_BOUND),
        "scoring_seconds": spread(scoring) | _bound(median(scoring), SCORING_BOUND),
        "sandbox": {
            "training_ratio": spread([a / b for a, b in against("train_seconds")]),
            "whole_ratio": spread([a / b for a, b in against("all_seconds")]),
            "startup_seconds_more": spread([a - b for a, b in against("startup_seconds")]),
            "scoring_seconds_more": spread([a - b for a, b in against("score_seconds")]),
        },
    }


def reference_summary(rounds: Sequence[Reading]) -> dict[str, Any]:
    """Seconds outside the budget, and ours as a share of the reference's, round by round."""
    names = ("reference_seconds", "cold_seconds", "warm_seconds")
    outside = {name: spread([each[name] for each in rounds]) for name in names}
    shares = {
        f"{name.removesuffix('_seconds')}_share": spread(
            [each[name] / each["reference_seconds"] for each in rounds]
        )
        for name in names[1:]
    }
    parts = rounds[0]["reference"]
    split = {name: round(median(each["reference"][name] for each in rounds), 2) for name in parts}
    return {"seconds_outside_budget": outside, "ours_as_share": shares, "reference_split": split}


# --- running ---


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


class Progress:
    """Readings so far; with ``kept``, on disk after each, and taken up from there."""

    def __init__(self, settings: Mapping[str, Any], kept: bool) -> None:
        self.kept = kept
        self.state: dict[str, Any] = {"settings": dict(settings), "pairs": [], "rounds": {}}
        found = _read(UNFINISHED) if kept else {}
        if found.get("settings") == self.state["settings"]:
            self.state = found

    def save(self) -> None:
        if self.kept:
            keep(UNFINISHED, self.state)

    def finish(self) -> None:
        if self.kept:
            (RESULTS / f"{UNFINISHED}.json").unlink(missing_ok=True)


def run(progress: Progress, pairs: int, budget: str, references: Sequence[Path]) -> None:
    """Take the readings that are not there yet."""
    before: Reading | None = None
    taken = progress.state["pairs"]
    while len(taken) < pairs:
        before = before or training("auto", budget)  # also warms the processes up
        taken.append(pair("off" if len(taken) % 2 else "auto", budget, before))
        before = taken[-1][-1]
        progress.save()
        print(f"pair {len(taken)} of {pairs}", file=sys.stderr)
    rounds = progress.state["rounds"]
    for number in range(pairs):
        for path in references:
            mine = rounds.setdefault(path.stem, [])
            if len(mine) > number:
                continue
            mine.append(beside_reference(path, reference_first=number % 2 == 0))
            progress.save()
            print(f"round {number + 1} of {pairs} beside {path.name}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--pairs", type=int, help="how many (10, with --full 30)")
    parser.add_argument(
        "--reference", type=Path, action="append", default=[], help="a port of the ancestor"
    )
    args = parser.parse_args()
    for path in args.reference:
        if not path.is_file():
            parser.error(f"--reference {path}: there is no such file")
    pairs = args.pairs or (30 if args.full else 10)
    if pairs < 2:
        parser.error("--pairs: at least 2")
    budget = "60000tok" if args.full else "20000tok"
    shown = [f"--reference {path.name}" for path in args.reference]
    command = " ".join(
        ["python -m benchmarks.overhead", "--full" if args.full else "--json", *shown]
    )
    result = stamp(command) | {"budget": budget, "pairs": pairs}
    progress = Progress(
        {
            "budget": budget,
            "machine": result["machine"],
            "train_file": hashlib.sha256(TRAIN_FILE.read_bytes()).hexdigest(),
        },
        kept=args.full,
    )
    run(progress, pairs, budget, args.reference)
    result |= summary(progress.state["pairs"])
    recorded = _read("overhead-reference")
    now = {
        path.stem: stamp(command)
        | {"reference_budget_seconds": REFERENCE_BUDGET_SECONDS}
        | reference_summary(progress.state["rounds"][path.stem])
        for path in args.reference
    }
    result["reference_measured_now"] = now
    result["reference_recorded"] = {n: each for n, each in recorded.items() if n not in now}
    if args.full:
        keep("overhead-reference", recorded | now)
        keep("overhead", result)
        progress.finish()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
