"""How good a model train.py gives in a short budget, on a small CPU, and beside the ancestor's.

    python -m benchmarks.training --json    ours at 20 s, beside what was recorded (a minute)
    python -m benchmarks.training --full    all parts; goes on where it was interrupted
    python -m benchmarks.training --full --part sigma --part budgets
    python -m benchmarks.training --full --reference PATH [--data files:TEXT]

Parts of ``--full``, each reading kept in results/ as soon as it is there:

reference   five seeds at 60 s, ours and each reference in turn
throughput  tokens a second in the shape of the reference's smaller model, in turn
sigma       ten seeds at 10, 20 and 60 s
budgets     10 to 240 s, and the laptop preset on the same machine; a picture beside the results
untouched   as ``reference``, on the corpus that ``--data`` names, once

A reference is a port of the ancestor's train.py: it reads ``TIME_BUDGET``, ``SEED`` and ``DATA``
from the environment and prints a line of JSON last, with ``val_bpb``, ``tokens_per_second``,
``params`` and ``wall_seconds``. Readings belong to one train.py and one machine: another starts
afresh.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from agent.constants import set_constants
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.data import DataError
from trainer.forkserver import environment
from trainer.measure import measure
from trainer.presets import BadSetting, presets
from trainer.sandbox import SandboxError

TITLE = "on a small CPU"
PARTS = ("reference", "throughput", "sigma", "budgets", "untouched")
TRAIN_FILE = ROOT / "trainer" / "train.py"
PICTURE = RESULTS / "training-budgets.svg"
SMALL_SHAPE = {
    "VOCAB_SIZE": 4096, "SEQ_LEN": 256, "DEPTH": 2, "WIDTH": 128, "HEAD_DIM": 64, "MLP_RATIO": 4,
    "PAIR_ROWS": 256, "BATCH_ROWS": 8, "MICRO_ROWS": 8,
}  # fmt: skip
RECORDED = {
    "how": "one reading each of the ancestor's train.py ported to CPU, 60 s of training, a corpus "
    "like apidocs, vocabulary 4,096, context 256, 2 cores",
    "depth 4, width 256, batch 2**14": {"val_bpb": 1.452, "wall_seconds": 118.8},
    "depth 2, width 128, batch 2048": {"val_bpb": 1.289, "wall_seconds": 76.0},
}


class Failed(Exception):
    """A training that gave no number; the message says which and why."""


@dataclass(frozen=True)
class Case:
    """One training; two with the same fields are the same reading."""

    part: str
    who: str
    """``ours``, ``ours in its shape``, a preset's name, or the stem of a reference's file."""
    seconds: int
    seed: int
    data: str = "apidocs"


def cases(parts: Sequence[str], references: Sequence[str], data: str | None) -> Iterator[Case]:
    """All trainings of ``parts`` in the order in which they run: what is compared in turn."""
    both = ("ours", *references)
    for part in parts:
        if part == "reference":
            yield from (Case(part, who, 60, seed) for seed in range(5) for who in both)
        elif part == "untouched" and data:
            yield from (Case(part, who, 60, seed, data) for seed in range(5) for who in both)
        elif part == "throughput":
            shapes = ("ours in its shape", *references)
            yield from (Case(part, who, 15, seed) for seed in range(3) for who in shapes)
        elif part == "sigma":
            budgets = (10, 20, 60)
            yield from (Case(part, "ours", s, seed) for seed in range(10) for s in budgets)
        elif part == "budgets":
            for seconds in (10, 20, 40, 60, 120, 240):
                yield from (Case(part, "ours", seconds, seed) for seed in range(2))
            yield from (Case(part, "laptop", seconds, 0) for seconds in (60, 240))


# --- trainings ---


def ours(case: Case) -> dict[str, Any]:
    """A reading by ``measure``."""
    source = TRAIN_FILE.read_text()
    preset = case.who if case.who in presets() else "cpu"
    constants = SMALL_SHAPE if case.who == "ours in its shape" else presets()[preset].constants
    for block in set_constants(source, constants):
        source = source.replace(block.search, block.replace)
    began = time.monotonic()
    measured = measure(
        source,
        budget=f"{case.seconds}s",
        seed=case.seed,
        preset=preset,
        data=case.data,
        device="cpu",
    )
    if measured.status != "ok":
        raise Failed(f"{case}: {measured.status}: {measured.reason}")
    return {
        "val_bpb": round(measured.val_bpb, 5) if measured.val_bpb is not None else None,
        "tokens_per_second": round(measured.tokens / measured.train_seconds),
        "params": measured.params,
        "wall_seconds": round(time.monotonic() - began, 1),
        "startup_seconds": measured.startup_seconds,
        "disturbance": round(measured.disturbance, 3),
    }


def theirs(path: Path, case: Case) -> dict[str, Any]:
    """A reading by a reference's own scoring."""
    env = dict(os.environ) | {
        "TIME_BUDGET": str(case.seconds),
        "SEED": str(case.seed),
        "DATA": case.data,
        "PYTHONPATH": str(ROOT),
        "GOMP_SPINCOUNT": environment()["GOMP_SPINCOUNT"],
    }
    command = [sys.executable, str(path)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{case}: {path.name} failed:\n{done.stderr[-2000:]}")
    wanted = ("val_bpb", "tokens_per_second", "params", "wall_seconds", "startup_seconds")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return {name: round(said[name], 5) for name in wanted}
    except (IndexError, KeyError, TypeError, ValueError):
        raise Failed(f"{case}: the last line of {path.name} lacks one of {wanted}") from None


# --- what it comes to ---


def summary(readings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each part, who, corpus and budget: n, mean and SD of val_bpb, means of the rest."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for each in readings:
        key = f"{each['part']}: {each['who']}, {each['seconds']} s"
        grouped.setdefault(key + f", {each['data']}" * (each["data"] != "apidocs"), []).append(each)
    return {
        name: {
            "n": len(group),
            "val_bpb": round(mean(each["val_bpb"] for each in group), 4),
            "sd": round(stdev(each["val_bpb"] for each in group), 4) if len(group) > 1 else None,
            "tokens_per_second": round(mean(each["tokens_per_second"] for each in group)),
            "params": group[0]["params"],
            "wall_seconds": round(mean(each["wall_seconds"] for each in group), 1),
        }
        for name, group in grouped.items()
    }


def ratios(means: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Ours as a share of each reference, where both were read: val_bpb, and tokens a second."""
    found = {}
    for name, value in means.items():
        part, _, rest = name.partition(": ")
        who, _, where = rest.partition(", ")
        mine = "ours in its shape" if part == "throughput" else "ours"
        measure_of = "tokens_per_second" if part == "throughput" else "val_bpb"
        own = means.get(f"{part}: {mine}, {where}")
        if own and who != mine and part in ("reference", "throughput", "untouched"):
            found[f"{part}: {measure_of} against {who}"] = own[measure_of] / value[measure_of]
    return {name: round(value, 3) for name, value in found.items()}


def draw(readings: Sequence[Mapping[str, Any]], path: Path) -> None:
    """val_bpb over the budget, one point a training."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for who, mark in (("ours", "o"), ("laptop", "s")):
        points = [(r["seconds"], r["val_bpb"]) for r in readings if r["who"] == who]
        if points:
            label = "cpu preset" if who == "ours" else f"{who} preset"
            axes.plot(*zip(*sorted(points), strict=True), mark, label=label)
    ticks = sorted({r["seconds"] for r in readings})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="training, seconds", ylabel="val_bpb", title=f"Budgets, {TITLE}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


# --- running ---


def kept_readings(machine: str, train_sha256: str) -> list[dict[str, Any]]:
    """Readings of this train.py on this machine that an earlier call left."""
    path = RESULTS / "training.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    if (found.get("machine"), found.get("train_sha256")) != (machine, train_sha256):
        return []
    readings: list[dict[str, Any]] = found["readings"]
    return readings


def short() -> dict[str, Any]:
    """Ours once, now, beside what was recorded."""
    result = stamp("python -m benchmarks.training --json")
    result |= {"title": f"val_bpb after 20 s, {TITLE}"}
    result["measured_now"] = ours(Case("short", "ours", 20, 0))
    path = RESULTS / "training.json"
    full = json.loads(path.read_text()) if path.exists() else {}
    kept = ("date", "command", "machine", "means", "ratios")
    result["recorded"] = {
        "reference": RECORDED,
        "full": {name: full[name] for name in kept if name in full} or "never run",
    }
    return result


def full(parts: Sequence[str], references: Mapping[str, Path], data: str | None) -> dict[str, Any]:
    """Take the readings that are not there yet, keeping each."""
    shown = [f"--part {part}" for part in parts] if tuple(parts) != PARTS else []
    shown += [f"--reference {path.name}" for path in references.values()]
    result = stamp(" ".join(["python -m benchmarks.training --full", *shown]))
    result["title"] = f"train.py and the ancestor's, {TITLE}"
    result["train_sha256"] = hashlib.sha256(TRAIN_FILE.read_bytes()).hexdigest()
    readings = kept_readings(result["machine"], result["train_sha256"])
    means = summary(readings)
    result |= {"recorded_reference": RECORDED, "readings": readings}
    result |= {"means": means, "ratios": ratios(means)}
    taken = {Case(**{name: r[name] for name in Case.__annotations__}) for r in readings}
    todo = [case for case in cases(parts, list(references), data) if case not in taken]
    for number, case in enumerate(todo, 1):
        print(f"{number} of {len(todo)}: {case}", file=sys.stderr)
        try:
            reading = theirs(references[case.who], case) if case.who in references else ours(case)
        except Failed as error:
            print(f"left out, to be taken by the next call: {error}", file=sys.stderr)
            continue
        readings.append(asdict(case) | reading | {"date": stamp("")["date"]})
        result["means"] = summary(readings)
        result["ratios"] = ratios(result["means"])
        keep("training", result)
    if points := [r for r in readings if r["part"] == "budgets"]:
        draw(points, PICTURE)
    return {name: value for name, value in result.items() if name != "readings"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--part", action="append", choices=PARTS, help="of --full; all if left out")
    parser.add_argument(
        "--reference", type=Path, action="append", default=[], help="a port of the ancestor"
    )
    parser.add_argument("--data", help="corpus of the part `untouched`, as files:PATH")
    args = parser.parse_args()
    for path in args.reference:
        if not path.is_file():
            parser.error(f"--reference {path}: there is no such file")
    if "untouched" in (args.part or ()) and not args.data:
        parser.error("--part untouched: name the corpus with --data files:PATH")
    references = {path.stem: path.resolve() for path in args.reference}
    try:
        result = full(args.part or PARTS, references, args.data) if args.full else short()
    except (BadSetting, DataError, SandboxError, Failed) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
