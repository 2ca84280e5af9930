"""How good a model train.py gives in a short budget, on a small CPU, and beside the ancestor's.

    python -m benchmarks.training --json    ours at 20 s, beside what was recorded (a minute)
    python -m benchmarks.training --full    all parts; goes on where it was interrupted
    python -m benchmarks.training --full --part sigma --part budgets
    python -m benchmarks.training --full --reference PATH [--data files:TEXT] [--seeds 1]

Parts of ``--full``, each reading kept in results/ as soon as it is there:

reference   five seeds at 60 s, ours and each reference in turn
throughput  tokens a second in the shape of the reference's smaller model, five times in turn
sigma       ten seeds at 10, 20 and 60 s
budgets     10 to 240 s, and the laptop preset at 60 s; a picture beside the results
tries       three seeds at 30 s, ours and each change that was tried, in turn
untouched   as ``reference``, on the corpus that ``--data`` names

A reference is a port of the ancestor's train.py: it reads ``TIME_BUDGET``, ``SEED`` and ``DATA``
from the environment and prints a line of JSON last, with ``val_bpb``, ``tokens_per_second``,
``params`` and, in words, ``how`` it was set. Readings belong to one machine and to what train.py
and its presets compute: another starts afresh. A reference runs in the environment that ours is
given, so that neither has the better allocator.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from matplotlib.figure import Figure

from agent.edits.constants import set_constants
from agent.proposers.deck import recipes
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.data.prepare import DataError
from trainer.measure import measure
from trainer.presets import BadSetting, load_presets
from trainer.sandbox.client import environment
from trainer.sandbox.confine import SandboxError

Reading = Mapping[str, Any]
OURS = "ours"
TITLE = "on a small CPU"
PARTS = ("reference", "throughput", "sigma", "budgets", "tries", "untouched")
TRAIN_FILE = ROOT / "trainer" / "train.py"
PICTURE = RESULTS / "training-budgets.svg"
SMALL_SHAPE = {
    "VOCAB_SIZE": 4096, "SEQ_LEN": 256, "DEPTH": 2, "WIDTH": 128, "HEAD_DIM": 64, "MLP_RATIO": 4,
    "PAIR_ROWS": 256, "BATCH_ROWS": 8, "MICRO_ROWS": 8,
}  # fmt: skip
TRIES: Mapping[str, Mapping[str, Any] | str] = {
    "VOCAB_SIZE 1024": {"VOCAB_SIZE": 1024},
    "SEQ_LEN 256, same tokens a step": {"SEQ_LEN": 256, "BATCH_ROWS": 16, "MICRO_ROWS": 16},
    "BATCH_ROWS 4": {"BATCH_ROWS": 4, "MICRO_ROWS": 4},
    "DEPTH 2": {"DEPTH": 2},
    "no token pairs (PAIR_LR 0)": {"PAIR_LR": 0.0},
    "simplification-no-token-shift": "simplification-no-token-shift",
    "simplification-no-value-embeddings": "simplification-no-value-embeddings",
    "PAIR_LR 2": {"PAIR_LR": 2.0},
}
"""Changes of ours: constants, or the name of a recipe of the deck."""
RUNTIME = ("GOMP_SPINCOUNT", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""What of the harness's environment bears on speed."""
RECORDED = {
    "how": "one reading each of the ancestor's train.py ported to CPU, 60 s of training, a corpus "
    "like apidocs, vocabulary 4,096, context 256, 2 cores",
    "depth 4, width 256, batch 2**14": {"val_bpb": 1.452, "wall_seconds": 118.8},
    "depth 2, width 128, batch 2048": {"val_bpb": 1.289, "wall_seconds": 76.0},
}


class Failed(Exception):
    """A training that gave no number; the message says which and why."""


# --- what is read ---


@dataclass(frozen=True)
class Case:
    """One training; two with the same fields are the same reading, whichever part asks."""

    who: str
    """``ours``, ``ours in its shape``, a preset, one of TRIES, or a reference's stem."""
    seconds: int
    seed: int
    data: str = "apidocs"
    """A corpus as ``named``."""


def named(data: str) -> str:
    """A corpus by the last part of its path: results name no folders of a machine."""
    kind, colon, path = data.partition(":")
    return kind + colon + Path(path).name


def cases(
    parts: Sequence[str], references: Sequence[str], data: str | None, seeds: int = 5
) -> list[Case]:
    """All trainings of ``parts`` in the order in which they run: what is compared in turn."""
    both = (OURS, *references)
    wanted: dict[str, list[Case]] = {
        "reference": [Case(who, 60, seed) for seed in range(seeds) for who in both],
        "throughput": [
            Case(who, 15, seed) for seed in range(5) for who in ("ours in its shape", *references)
        ],
        "sigma": [Case(OURS, seconds, seed) for seed in range(10) for seconds in (10, 20, 60)],
        "budgets": [
            *(Case(OURS, seconds, 0) for seconds in (10, 20, 40, 60, 120, 240)),
            Case("laptop", 60, 0),
        ],
        "tries": [Case(who, 30, seed) for seed in range(3) for who in (OURS, *TRIES)],
        "untouched": [
            Case(who, 60, seed, named(data or "")) for seed in range(seeds) for who in both
        ],
    }
    parts = [part for part in parts if data or part != "untouched"]
    return list(dict.fromkeys(case for part in parts for case in wanted[part]))


# --- trainings ---


def changed(source: str, who: str) -> str:
    """train.py as ``who`` has it."""
    change = TRIES.get(who, SMALL_SHAPE if who == "ours in its shape" else {})
    if isinstance(change, str):
        (recipe,) = (recipe for recipe in recipes() if recipe.name == change)
        return recipe.edit.apply(source)
    constants = {**load_presets()[preset_of(who)].constants, **change}
    for block in set_constants(source, constants):
        source = source.replace(block.search, block.replace)
    return source


def preset_of(who: str) -> str:
    return who if who in load_presets() else "cpu"


def ours(case: Case, data: str) -> dict[str, Any]:
    """A reading of train.py, by ``measure``; ``data`` is the corpus with its path."""
    source = changed(TRAIN_FILE.read_text(), case.who)
    began = time.monotonic()
    measured = measure(
        source,
        budget=f"{case.seconds}s",
        seed=case.seed,
        preset=preset_of(case.who),
        data=data,
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
        "pace": measured.pace,
    }


def theirs(path: Path, case: Case, data: str) -> dict[str, Any]:
    """A reading by a reference's own scoring."""
    env = dict(os.environ) | {
        "TIME_BUDGET": str(case.seconds),
        "SEED": str(case.seed),
        "DATA": data,
        "PYTHONPATH": str(ROOT),
    }
    env |= {name: environment()[name] for name in RUNTIME}
    command = [sys.executable, str(path)]
    began = time.monotonic()
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{case}: {path.name} failed:\n{done.stderr[-2000:]}")
    wall_seconds = round(time.monotonic() - began, 1)
    wanted = ("val_bpb", "tokens_per_second", "params")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        found: dict[str, Any] = {name: round(said[name], 5) for name in wanted}
        return found | {"wall_seconds": wall_seconds, "how": str(said.get("how", ""))}
    except (IndexError, KeyError, TypeError, ValueError):
        raise Failed(f"{case}: the last line of {path.name} lacks one of {wanted}") from None


# --- what it comes to ---


def summary(readings: Sequence[Reading]) -> dict[str, Any]:
    """For each who, budget and corpus: n, mean and SD of val_bpb, means of the rest."""
    grouped: dict[str, list[Reading]] = {}
    for each in readings:
        key = f"{each['who']}, {each['seconds']} s, {each['data']}"
        grouped.setdefault(key, []).append(each)
    return {
        name: {
            "n": len(group),
            "val_bpb": round(mean(each["val_bpb"] for each in group), 4),
            "sd": round(stdev(each["val_bpb"] for each in group), 4) if len(group) > 1 else None,
            "tokens_per_second": round(mean(each["tokens_per_second"] for each in group)),
            "params": group[0]["params"],
            "wall_seconds": round(mean(each["wall_seconds"] for each in group), 1),
        }
        | ({"how": group[0]["how"]} if "how" in group[0] else {})
        for name, group in grouped.items()
    }


def ratios(readings: Sequence[Reading]) -> dict[str, Any]:
    """Ours as a share of each reference, seed by seed, since the two ran one after the other."""
    at = {(r["who"], r["seconds"], r["data"], r["seed"]): r for r in readings}
    found: dict[str, list[float]] = {}
    for (who, seconds, data, seed), theirs in at.items():
        for mine, measured in (("ours", "val_bpb"), ("ours in its shape", "tokens_per_second")):
            own = at.get((mine, seconds, data, seed))
            if own and who not in (OURS, "laptop", mine, *TRIES):
                key = f"{measured} against {who}, {seconds} s, {data}"
                found.setdefault(key, []).append(own[measured] / theirs[measured])
    return {
        name: {
            "n": len(each),
            "median": round(median(each), 3),
            "lowest": round(min(each), 3),
            "highest": round(max(each), 3),
        }
        for name, each in found.items()
    }


def differences(readings: Sequence[Reading]) -> dict[str, Any]:
    """val_bpb of each change less that of ours, seed by seed; below zero the change is better."""
    own = {(r["seconds"], r["seed"]): r["val_bpb"] for r in readings if r["who"] == OURS}
    found: dict[str, list[float]] = {}
    for each in readings:
        at = (each["seconds"], each["seed"])
        if each["who"] in TRIES and at in own:
            found.setdefault(each["who"], []).append(round(each["val_bpb"] - own[at], 4))
    return {who: {"mean": round(mean(each), 4), "each": each} for who, each in found.items()}


def figures(readings: Sequence[Reading]) -> dict[str, Any]:
    return {
        "means": summary(readings),
        "ratios": ratios(readings),
        "differences": differences(readings),
    }


def draw(readings: Sequence[Reading], path: Path) -> None:
    """val_bpb of ours over the budget, one point a training."""
    readings = [r for r in readings if r["who"] in (OURS, "laptop") and r["data"] == "apidocs"]
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


def code_sha256(source: str) -> str:
    """SHA-256 of what a program does: comments, docstrings and layout do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def code_of(who: str) -> str:
    """What a reading belongs to: train.py as ``who`` has it, or as ours is beside a reference."""
    return code_sha256(changed(TRAIN_FILE.read_text(), who))[:16]


def kept_readings(machine: str) -> list[dict[str, Any]]:
    """Readings on this machine that an earlier call left and that are still of this code."""
    path = RESULTS / "training.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    readings: list[dict[str, Any]] = found["readings"] if found.get("machine") == machine else []
    return [r for r in readings if r.get("code") == code_of(r["who"])]


def short() -> dict[str, Any]:
    """Ours once, now, beside what was recorded."""
    result = stamp("python -m benchmarks.training --json")
    result |= {"title": f"val_bpb after 20 s, {TITLE}"}
    result["measured_now"] = ours(Case(OURS, 20, 0), "apidocs")
    path = RESULTS / "training.json"
    full = json.loads(path.read_text()) if path.exists() else {}
    kept = ("date", "command", "machine", "means", "ratios", "differences")
    result["recorded"] = {
        "reference": RECORDED,
        "full": {name: full[name] for name in kept if name in full} or "never run",
    }
    return result


def full(
    parts: Sequence[str], references: Mapping[str, Path], data: str | None, seeds: int = 5
) -> dict[str, Any]:
    """Take the readings that are not there yet, keeping each."""
    options = [f"--part {part}" for part in parts] if tuple(parts) != PARTS else []
    options += [f"--reference {path.name}" for path in references.values()]
    options += [f"--data {named(data)}"] if data else []
    options += [f"--seeds {seeds}"] if seeds != 5 else []
    command = " ".join(["python -m benchmarks.training --full", *options])
    result = stamp(command)
    result["title"] = f"train.py and the ancestor's, {TITLE}"
    readings = kept_readings(result["machine"])
    result |= {"recorded_reference": RECORDED, "readings": readings} | figures(readings)
    taken = {Case(**{name: r[name] for name in Case.__annotations__}) for r in readings}
    corpora = {named(source): source for source in ("apidocs", data) if source}
    todo = [case for case in cases(parts, list(references), data, seeds) if case not in taken]
    left_out = 0
    for number, case in enumerate(todo, 1):
        print(f"{number} of {len(todo)}: {case}", file=sys.stderr)
        try:
            corpus = corpora[case.data]
            if case.who in references:
                reading = theirs(references[case.who], case, corpus)
            else:
                reading = ours(case, corpus)
        except Failed as error:
            print(f"left out, to be taken by the next call: {error}", file=sys.stderr)
            left_out += 1
            continue
        of = {"code": code_of(case.who), "date": stamp("")["date"], "command": command}
        readings.append(asdict(case) | reading | of)
        keep("training", result | figures(readings))
    if "budgets" in parts:
        draw(readings, PICTURE)
    shown = {name: value for name, value in result.items() if name != "readings"}
    return shown | figures(readings) | {"left_out": left_out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--part", action="append", choices=PARTS, help="of --full; all if left out")
    parser.add_argument(
        "--reference", type=Path, action="append", default=[], help="a port of the ancestor"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="of the parts `reference` and `untouched`"
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
        parts = args.part or PARTS
        result = full(parts, references, args.data, args.seeds) if args.full else short()
    except (BadSetting, DataError, SandboxError, Failed) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(result))
    raise SystemExit(1 if result.get("left_out") else 0)


if __name__ == "__main__":
    main()
