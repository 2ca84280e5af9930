"""The process of one campaign: runs it to its end, verifies it, writes its row; see ``real``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.campaign import reading
from agent.campaign.commits import baseline_source
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.report.display import Display
from agent.steps.start import open_runtime
from agent.steps.stop import heeding
from benchmarks.keep import make
from benchmarks.machine import ROOT, stamp
from benchmarks.search.arms import ARMS, DISTANCE, Job
from benchmarks.search.course import Found, digest, steps_of
from benchmarks.search.draws import replace_draw
from benchmarks.search.points import PRESET, search
from benchmarks.search.verified import SEEDS, verify
from trainer.measure import MACHINE, resolve
from trainer.source import plain

TAG = "search"
STOPPED = 3
"""Exit status of a process that was asked to stop: the same job goes on later."""
HEATS = "verified.jsonl"
SHIPPED = ROOT / "trainer" / "train.py"


def row_of(job: Job, start: Path, folder: Path) -> dict[str, Any] | None:
    """Run a job to its end; None if it was asked to stop."""
    began, stop = time.monotonic(), threading.Event()
    source, shipped = (with_preset(path.read_text()) for path in (start, SHIPPED))
    about = stamp(f"python -m benchmarks.search --full --only '{job.arm}'")
    if job.arm == DISTANCE:
        found: Found | None = Found([], {0: source, 1: shipped}, "")
    elif ARMS[job.arm].is_campaign:
        found = campaign(job, start, folder)
    else:
        with heeding(stop, say):
            found = search(job, source, folder, stop, say)
    if found is None:
        return None
    with heeding(stop, say):
        name, seeds = f"{job.arm} {job.seed}", 2 * SEEDS if job.arm == DISTANCE else SEEDS
        chosen = found.to_verify()
        points = verify(chosen, name, job.budget, folder / HEATS, stop, say, seeds)
    if points is None:
        return None
    setting = resolve(PRESET)
    return {
        "arm": job.arm,
        "seed": job.seed,
        "trials": job.trials,
        "budget": job.budget,
        **{key: about[key] for key in ("command", "date", "machine", "load_before")},
        "threads": setting.threads,
        "isolation": setting.level,
        "seconds_of_this_sitting": round(time.monotonic() - began),
        "start": digest(source),
        "final": digest(list(found.files.values())[-1]),
        "ended": found.ended,
        "course": [step.to_json() for step in found.steps],
        "verified": points,
    }


def campaign(job: Job, start: Path, folder: Path) -> Found | None:
    """Run or resume ``agent run --start``; None if it was asked to stop."""
    arm = ARMS[job.arm]
    if arm.draw is not None:
        replace_draw(arm.draw)
    if not (folder / "repo").exists():
        shutil.rmtree(folder / "repo.new", ignore_errors=True)  # a kill may have left half of it
        make(folder / "repo.new", {})
        (folder / "repo.new").replace(folder / "repo")
    repo = Repo.open(folder / "repo")
    given = {
        "trials": str(job.trials),
        "budget": job.budget,
        "seed": str(job.seed),
        "llm": "none",
        "proposer": arm.proposer,
        "preset": PRESET,
    }
    with (
        closing(Display(sys.stderr)) as display,
        open_runtime(repo, TAG, given, repo.root / "program.md", display, start=start) as runtime,
    ):
        ended = run_campaign(runtime)
        was_stopped = runtime.stop.is_set()
    if was_stopped:
        return None
    state = reading.load(repo, TAG)
    done = sum(state.counts.values())
    if done > job.trials:
        raise SystemExit(f"error: {folder} has {done} trials, more than {job.trials}")
    files = {trial.trial: plain(repo.read_file(trial.commit)) for trial in state.real if trial.kept}
    return Found(steps_of(state), files, ended)


def with_preset(source: str) -> str:
    """A start with the constants of the preset, as trial 0 of a campaign has it."""
    return baseline_source("", {"start_source": source, "preset": PRESET})


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    """Ask this process to stop when the one that started it is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="the fields of a Job, as JSON")
    parser.add_argument("start", type=Path)
    parser.add_argument("folder", type=Path, help="where it works and can be gone on with")
    parser.add_argument("row", type=Path, help="the file that its row is written to")
    args = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    args.folder.mkdir(parents=True, exist_ok=True)
    row = row_of(Job(**json.loads(args.job)), args.start, args.folder)
    MACHINE.close()
    if row is None:
        raise SystemExit(STOPPED)
    written = args.row.with_suffix(".tmp")
    written.write_text(json.dumps(row))
    written.replace(args.row)


if __name__ == "__main__":
    main()
