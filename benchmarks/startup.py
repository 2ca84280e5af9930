"""How long a newcomer waits: from the command to the first trained step, and for one training.

    python -m benchmarks.startup --json     one cold start, three trainings (about a minute)
    python -m benchmarks.startup --full     three cold starts, nine trainings, three of 60 s; kept
                                            in results/

A cold start is ``agent run`` with an empty cache: preparing corpus and tokenizer is part of it. A
warm one is a measured training on prepared data, from the start of its process to the end of the
first step: importing torch, the fork server and the sandbox, the model, the first batch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import ROOT, keep, stamp

_WATCHED = """
import sys, time
from pathlib import Path
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.steps.start import open_runtime
from agent.report.display import Display

class Stamps(Display):
    def event(self, event):
        kind = event["event"]
        if kind not in seen and kind in ("preparing", "ready", "log"):
            seen[kind] = time.time()
        if kind == "preparing":
            seen["prepared"] = time.time()

seen = {}
given = {"budget": "2s", "trials": 0, "llm": "none"}
with open_runtime(
    Repo.open(Path.cwd()), "bench", given, Path("program.md"), Stamps(sys.stderr)
) as runtime:
    run_campaign(runtime)
print(*(seen[name] for name in ("preparing", "prepared", "log")))
"""

_FIRST_STEP = """
import time
from trainer.__main__ import TRAIN_FILE
from trainer.measure import measure

seen = []
log = lambda event: event["event"] == "log" and seen.append(time.time())
measure(TRAIN_FILE.read_text(), budget="1s", preset="cpu", on_event=log)
print(seen[0])
"""


def cold_start() -> dict[str, float]:
    """Seconds from the command to the first trained step, and for preparing data, cache empty."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("agent", "trainer", "prompts"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=ignored)
        shutil.copy(ROOT / "program.md", folder)
        identity = ("-c", "user.name=b", "-c", "user.email=b@localhost")
        for args in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "bench")):
            subprocess.run(["git", *args], cwd=folder, check=True)
        env = {**os.environ, "AUTORESEARCH_CACHE": f"{folder}/cache"}
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-c", _WATCHED],
            cwd=folder, env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip
    preparing, prepared, stepped = map(float, done.stdout.split())
    return {"first_step_seconds": stepped - began, "preparing_seconds": prepared - preparing}


def warm_start() -> dict[str, float]:
    """Seconds from the start of a process that measures train.py to the end of the first step."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_STEP], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"first_step_seconds": float(done.stdout) - began}


def one_training(budget: str) -> dict[str, float]:
    """Wall seconds of ``python -m trainer --budget BUDGET`` on prepared data."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--budget", budget, "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured: Mapping[str, Any] = json.loads(done.stdout)
    return {
        "wall_seconds": time.monotonic() - began,
        "startup_seconds": measured["startup_seconds"],
        "score_seconds": measured["score_seconds"],
    }


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(median(run[name] for run in runs), 2) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    args = parser.parse_args()
    starts, trainings = (3, 9) if args.full else (1, 3)
    result = stamp(f"python -m benchmarks.startup {'--full' if args.full else '--json'}")
    result["cold_start"] = _medians([cold_start() for _ in range(starts)])
    result["warm_start"] = _medians([warm_start() for _ in range(trainings)])
    result["trainer_5s"] = _medians([one_training("5s") for _ in range(trainings)])
    result |= {"cold_starts": starts, "trainings": trainings}
    if args.full:
        result["trainer_60s"] = _medians([one_training("60s") for _ in range(3)])
        keep("startup", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
