"""The process of one campaign: runs it to its end, verifies it, writes its row; see ``real``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agent.steps.stop import heeding
from benchmarks.machine import ROOT, stamp
from benchmarks.search import campaign
from benchmarks.search.arms import ARMS, DISTANCE, LUCK, TPE_STATED, Job
from benchmarks.search.course import Found, digest
from benchmarks.search.draws import replace_draw
from benchmarks.search.points import POINTS, ask, search, space_of
from benchmarks.search.verified import SEEDS, verify
from trainer.measure import MACHINE, resolve

STOPPED = 3
"""Exit status of a process that was asked to stop: the same job goes on later."""
HEATS = "verified.jsonl"
SHIPPED = ROOT / "trainer" / "train.py"


def row_of(job: Job, start: Path, folder: Path) -> dict[str, Any] | None:
    """Run a job to its end; None if it was asked to stop."""
    began, stop = time.monotonic(), threading.Event()
    about = stamp(f"python -m benchmarks.search --full --only '{job.arm}'")
    found = searched(job, start, folder, stop)
    if found is None:
        return None
    with heeding(stop, say):
        name, seeds = f"{job.arm} {job.seed}", 2 * SEEDS if job.arm == DISTANCE else SEEDS
        chosen = found.to_verify()
        points = verify(chosen, name, job.budget, folder / HEATS, stop, say, seeds)
    if points is None:
        return None
    setting, files = resolve(campaign.PRESET), list(found.files.values())
    return {
        "arm": job.arm,
        "seed": job.seed,
        "trials": job.trials,
        "budget": job.budget,
        **{key: about[key] for key in ("command", "date", "machine", "load_before")},
        "threads": setting.threads,
        "isolation": setting.level,
        "seconds_of_this_sitting": round(time.monotonic() - began),
        "start": digest(files[0]),
        "final": digest(files[-1]),
        "ended": found.ended,
        "course": [step.to_json() for step in found.steps],
        "verified": points,
    }


def searched(job: Job, start: Path, folder: Path, stop: threading.Event) -> Found | None:
    """What an arm has found; None if it was asked to stop."""
    source = campaign.with_preset(start.read_text())
    if job.arm == DISTANCE:
        return Found([], {0: source, 1: campaign.with_preset(SHIPPED.read_text())}, "")
    arm = ARMS[job.arm]
    if arm.is_campaign:
        if arm.draw is not None:
            replace_draw(arm.draw)
        told = {"trials": job.trials, "budget": job.budget, "seed": job.seed}
        settings = {"proposer": arm.proposer, **{key: str(value) for key, value in told.items()}}
        ended = campaign.run(folder, start, settings)
        if ended is None:
            return None
        if (done := sum(campaign.state_of(folder).counts.values())) > job.trials:
            raise SystemExit(f"error: {folder} has {done} trials, more than {job.trials}")
        return campaign.found(folder, ended)
    space = space_of(source, campaign.PRESET, as_stated=job.arm == TPE_STATED.name)
    with heeding(stop, say):
        return search(
            ask(job.arm, job.seed, space),
            source,
            folder / POINTS,
            job.budget,
            lambda number: job.seed + (number if job.arm == LUCK.name else 0),
            lambda points: len(points) > job.trials,
            stop,
            say,
        )


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
