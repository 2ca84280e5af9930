"""What grows with a campaign: the parent's memory, the time of a trial, the time to resume.

    python -m benchmarks.soak --json    3 trials, and resuming from 20,000 recorded ones (a minute)
    python -m benchmarks.soak --full    600 trials, kept in results/; goes on where it was stopped

The trials are real ones, with next to no budget: real trainings in the sandbox, by deck and tuner,
one heat a trial. After each, garbage is collected and the memory of the parent read. The processor
time of the parent is what could grow with the history; all else of a trial is children's. Slopes
are least squares over the trials of the longest run that was not interrupted.

The recorded trials are made up, written by the code that writes a journal, and read in a process of
its own each time: whole, and from a snapshot with the last 100 trials after it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from agent.campaign import events, snapshot
from agent.campaign.files import JOURNAL, write_atomically
from agent.campaign.lines import START, write_line
from agent.campaign.records import Training
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.loop import baseline, one_trial
from agent.report.display import Display
from agent.steps.runtime import Stopped
from agent.steps.start import open_runtime
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.fingerprint import instructions, processor

BUDGET = "10000tok"
SHORT_TRIALS, FULL_TRIALS = 3, 600
RECORDED = (2_000, 20_000)
AFTER_SNAPSHOT = 100
UNFINISHED = "soak-unfinished"

Reading = dict[str, Any]


# --- trials ---


def project(folder: Path) -> Repo:
    """A repository with the shipped train.py and program.md."""
    if not (folder / ".git").exists():
        (folder / "trainer").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "trainer" / "train.py", folder / "trainer")
        shutil.copy(ROOT / "program.md", folder)
        who = ["-c", "user.name=soak", "-c", "user.email=soak@example.org"]
        for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "as shipped"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
    return Repo.open(folder)


def trials(folder: Path, count: int, run: int) -> Iterator[Reading]:
    """Go on with the campaign in ``folder`` up to so many trials; a reading after each."""
    given = {"budget": BUDGET, "llm": "none", "keep": "greedy", "preset": "cpu"}
    repo, me = project(folder), psutil.Process()
    with (
        Path(os.devnull).open("w") as nowhere,
        open_runtime(repo, "soak", given, folder / "program.md", Display(nowhere)) as runtime,
    ):
        baseline(runtime)
        state = runtime.campaign.state
        while len(state.trials) <= count:
            began, worked = time.monotonic(), time.process_time()
            try:
                one_trial(runtime)
                runtime.after_trial()  # the report, if it is due
            except Stopped as stopped:
                print(f"ended after {len(state.trials) - 1} trials: {stopped}", file=sys.stderr)
                return
            seconds = time.monotonic() - began
            worked = time.process_time() - worked
            gc.collect()
            yield {
                "run": run,
                "trial": state.trials[-1].trial,
                "seconds": round(seconds, 3),
                "parent_cpu_seconds": round(worked, 3),
                "rss_mb": round(me.memory_info().rss / 2**20, 2),
            }


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the least-squares line."""
    return float(np.polyfit(xs, ys, 1)[0]) if len(xs) > 1 else 0.0


def summary(readings: Sequence[Reading]) -> dict[str, Any]:
    """First and last tenth of the longest run, and the slope, of each quantity."""
    runs = [reading["run"] for reading in readings]
    longest = [reading for reading in readings if reading["run"] == max(runs, key=runs.count)]
    numbers = [reading["trial"] for reading in longest]
    tenth = max(1, len(longest) // 10)
    found: dict[str, Any] = {"trials": len(longest), "interruptions": len(set(runs)) - 1}
    for name in ("seconds", "parent_cpu_seconds", "rss_mb"):
        values = [reading[name] for reading in longest]
        found[name] = {
            "first_tenth": round(median(values[:tenth]), 3),
            "last_tenth": round(median(values[-tenth:]), 3),
            "slope_per_100_trials": round(100 * slope(numbers, values), 4),
        }
    rss = [reading["rss_mb"] for reading in longest]
    steps = [k for k in range(1, len(rss)) if rss[k] != rss[k - 1]]
    found["rss_mb"]["last_change_at_trial"] = numbers[steps[-1]] if steps else numbers[0]
    # The parent shows that it waits: on a machine with other work a trial costs it more.
    seconds, worked = ([r[name] for r in longest] for name in ("seconds", "parent_cpu_seconds"))
    fit = np.linalg.lstsq(np.c_[np.ones(len(longest)), seconds, numbers], worked, rcond=None)[0]
    found["parent_cpu_seconds"]["slope_at_equal_seconds"] = round(100 * float(fit[2]), 4)
    return found


def columns(readings: Sequence[Reading]) -> dict[str, list[Any]]:
    """The readings themselves, by quantity."""
    return {name: [reading[name] for reading in readings] for name in readings[0]}


# --- resuming ---


def made_up(count: int) -> Iterator[events.Known]:
    """The events of a campaign of ``count`` reverted trials of three heats each."""
    dice = random.Random(0)
    machine = {
        "processor": processor(),
        "instructions": instructions(),
        "cores": 2,
        "threads": 2,
        "device": "cpu",
        "device_name": "",
        "torch": "2.13.0+cpu",
        "python": "3.11.7",
        "system": "Linux x86_64",
        "text": "apidocs botocore-1.44.5-r1-python-3.11.7",
        "data": "82a9c290" * 8,
        "trainer": "ba203f8bb13ce616",
    }
    yield events.CampaignBegun(settings={"tag": "t", "base": "b" * 40, "preset": "cpu", "seed": 0})
    yield events.RunBegun(pid=1, settings={"keep": "confirm", "llm": "none"})
    for trial in range(count + 1):
        champion, candidate = f"{0:040x}", f"{trial:040x}"
        yield events.TrialBegun(trial=trial, category="optimizer", propensity=0.1)
        yield events.Proposed(trial=trial, proposer="deck", reply=f"{trial} " + "a line\n" * 200)
        yield events.CandidateMade(trial=trial, candidate=candidate, title="a title of some words")
        for heat in range(3 if trial else 0):
            seed = 3 * trial + heat
            yield events.HeatBegun(trial=trial, heat=heat, seeds=(seed, seed), new_seeds=1)
            yield events.HeatOver(
                trial=trial,
                trainings=tuple(
                    Training(
                        trial,
                        role,
                        commit,
                        seed,
                        "ok",
                        heat=heat,
                        val_bpb=1.3 + dice.gauss(0, 0.01),
                        wall_seconds=round(24 + dice.random(), 4),
                        losses=tuple(round(3 + dice.random(), 6) for _ in range(20)),
                        weights_sha256=f"{dice.getrandbits(256):064x}",
                        fingerprint=machine,
                    )
                    for role, commit in (("champion", champion), ("candidate", candidate))
                ),
            )
        verdict = "revert" if trial else "keep"
        yield events.Concluded(
            trial=trial, verdict=verdict, words="so", status="ok", commit=candidate, reward=-0.1
        )


def write_journal(path: Path, count: int) -> None:
    """A journal of ``count`` trials and a baseline, and a snapshot of all but the last hundred."""
    place, state = START, State()
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        for event in made_up(count):
            event = event.model_copy(update={"n": place.n + 1, "time": 1.0})
            if getattr(event, "trial", 0) == count - AFTER_SNAPSHOT and isinstance(
                event, events.TrialBegun
            ):
                file.flush()
                snapshot.save(path, state, place)
            line = write_line(event)
            file.write(line)
            state.apply(event)
            place = place.after(line, event.n, getattr(event, "format", place.form))


def load(path: Path) -> float:
    """Seconds to read a campaign's state."""
    began = time.perf_counter()
    snapshot.read_state(path)
    return time.perf_counter() - began


def _loaded(path: Path) -> float:
    """The same in a process of its own: what a start takes beside its imports."""
    command = [sys.executable, "-m", "benchmarks.soak", "--load", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def resuming(folder: Path, times: int) -> list[dict[str, Any]]:
    """Of each number of trials: seconds to resume, whole and from a snapshot; the best of some."""
    found = []
    for count in RECORDED:
        path = folder / JOURNAL
        write_journal(path, count)
        shortened = min(_loaded(path) for _ in range(times))
        path.with_name(snapshot.SNAPSHOT).unlink()
        whole = min(_loaded(path) for _ in range(times))
        found.append(
            {
                "trials": count,
                "journal_mb": round(path.stat().st_size / 1e6, 1),
                "seconds": round(whole, 3),
                "microseconds_a_trial": round(1e6 * whole / count, 1),
                "seconds_from_snapshot": round(shortened, 3),
                "times_faster": round(whole / shortened, 1),
            }
        )
    return found


# --- running ---


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--folder", type=Path, help="where the campaign of --full is")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        print(load(args.load))
        return
    result = stamp(f"python -m benchmarks.soak {'--full' if args.full else '--json'}")
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        scratch = Path(made)
        result["resuming"] = resuming(scratch, times=3 if args.full else 1)
        folder = args.folder or Path(tempfile.gettempdir()) / "autoresearch-soak"
        folder = folder if args.full else scratch / "project"
        unfinished = RESULTS / f"{UNFINISHED}.json"
        readings: list[Reading] = []
        if args.full and unfinished.exists() and (folder / ".git").exists():
            readings = json.loads(unfinished.read_text())
        run = 1 + max((reading["run"] for reading in readings), default=-1)
        for reading in trials(folder, FULL_TRIALS if args.full else SHORT_TRIALS, run):
            readings.append(reading)
            if args.full:
                write_atomically(unfinished, json.dumps(readings).encode())
            print(reading, file=sys.stderr)
    result |= {"budget": BUDGET, "soak": summary(readings)}
    if args.full:
        keep("soak", result | {"readings": columns(readings)})
        unfinished.unlink(missing_ok=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
