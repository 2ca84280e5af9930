"""Runs the campaigns that are not recorded yet, as many at once as there are cores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.campaign.files import JOURNAL
from benchmarks.machine import RESULTS, ROOT
from benchmarks.search.arms import ARMS, DISTANCE, Job, next_job
from benchmarks.search.campaign import TAG
from benchmarks.search.lines import append_line, read_lines
from benchmarks.search.one import STOPPED
from benchmarks.search.points import POINTS
from trainer.data.prepare import cache_dir

FILE = RESULTS / "search-campaigns.jsonl"
START = ROOT / "examples" / "plain.py"
LOG = "log.txt"
POLL_SECONDS, TELL_SECONDS = 0.5, 60.0
SECONDS_A_TRIAL, SECONDS_A_POINT, SECONDS_TO_VERIFY = 35.0, 7.0, 170.0
"""For the forecast, on one core at 3 s."""


def work_folder() -> Path:
    return cache_dir() / "benchmarks" / "search"


@dataclass
class Running:
    """A job that runs, on a core of its own."""

    job: Job
    process: subprocess.Popen[bytes]
    core: int
    began: float
    row: Path


def cores() -> list[int]:
    """On each of which one campaign may run."""
    has = hasattr(os, "sched_getaffinity")
    return sorted(os.sched_getaffinity(0)) if has else [-1]


class Sitting:
    """Runs jobs until all are done or it is asked to stop; what is under way goes on next time."""

    def __init__(
        self,
        jobs: Sequence[Job],
        file: Path = FILE,
        work: Path | None = None,
        start: Path = START,
        say: Callable[[str], None] = lambda words: print(words, file=sys.stderr, flush=True),
    ) -> None:
        self.jobs, self.file, self.start, self.say = list(jobs), file, start, say
        self.work = work or work_folder()
        self.running: list[Running] = []
        self.failed: list[Job] = []
        self.asked_to_stop = False
        self.done = {job_of(row) for row in read_lines(file)}

    def run(self, at_once: Sequence[int] | None = None) -> int:
        """Returns how many jobs failed.

        Args:
            at_once: the cores to use, one a campaign; all if left out.
        """
        free = list(cores() if at_once is None else at_once)
        self.say(f"{len(self.left())} campaigns to do, about {self.minutes(len(free)):.0f} minutes")
        before = {
            number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        told = time.monotonic()
        try:
            while True:
                while free and not self.asked_to_stop and self.begin(free):
                    pass
                if not self.running:
                    return len(self.failed)
                time.sleep(POLL_SECONDS)
                for one in [one for one in self.running if one.process.poll() is not None]:
                    free.append(self.end(one))
                if time.monotonic() - told > TELL_SECONDS:
                    told = time.monotonic()
                    self.tell(len(free) + len(self.running))
        finally:
            for one in self.running:
                one.process.terminate()
            for one in self.running:
                one.process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self, *_: object) -> None:
        """As a handler of signals: ask all campaigns to stop, and wait for them."""
        self.asked_to_stop = True
        for one in self.running:
            one.process.terminate()

    def left(self) -> list[Job]:
        gone = {*self.done, *self.failed}
        return [job for job in self.jobs if job not in gone]

    def begin(self, free: list[int]) -> bool:
        """Begin the next job on the first free core, if there is one that can begin."""
        blocked = [one.job for one in self.running] + self.failed
        job = next_job(self.jobs, self.done.__contains__, blocked)
        if job is None:
            return False
        core, folder = free.pop(0), self.work / job.folder
        row = folder / f"row-{job.trials}.json"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.search.one", json.dumps(asdict(job))]
        command += map(str, (self.start, folder, row))
        everywhere = os.sched_getaffinity(0) if core >= 0 else set()
        try:
            if core >= 0:  # inherited, so that no thread of the other process is elsewhere
                os.sched_setaffinity(0, {core})
            with (folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C reaches it by this process, once
                )
        finally:
            if core >= 0:
                os.sched_setaffinity(0, everywhere)
        self.running.append(Running(job, process, core, time.monotonic(), row))
        self.say(f"begun on core {core}: {job.words}")
        return True

    def end(self, one: Running) -> int:
        """Record what a process has left; returns its core."""
        self.running.remove(one)
        status, took = one.process.returncode, (time.monotonic() - one.began) / 60
        if status == 0 and one.row.exists():
            row = json.loads(one.row.read_text())
            append_line(self.file, row | {"core": one.core})
            self.done.add(one.job)
            self.say(f"done in {took:.1f} minutes: {one.job.words}: {in_short(row)}")
        elif self.asked_to_stop or status == STOPPED:
            self.say(f"stopped, to be gone on with: {one.job.words}")
            self.asked_to_stop = True
        else:
            self.failed.append(one.job)
            log = (self.work / one.job.folder / LOG).read_text(errors="replace")
            self.say(f"failed, exit status {status}: {one.job.words}\n{log[-1500:]}")
        return one.core

    def tell(self, count: int) -> None:
        """Where the running campaigns are, and how long the rest may take."""
        parts = [
            f"{one.job.words.rsplit(',', 1)[0]}: {self.trials_of(one.job)} of {one.job.trials}"
            for one in self.running
        ]
        self.say(f"{'; '.join(parts)}; about {self.minutes(count):.0f} minutes left")

    def trials_of(self, job: Job) -> int:
        """How many trials of it are done."""
        folder = self.work / job.folder
        points = folder / POINTS
        if points.exists():
            return max(0, len(read_lines(points)) - 1)
        journal = folder / "repo" / "campaigns" / TAG / JOURNAL
        if not journal.exists():
            return 0
        return max(0, journal.read_bytes().count(b'"event":"verdict"') - 1)

    def minutes(self, count: int) -> float:
        """That what is left may take, where ``count`` run at once."""
        seconds = 0.0
        for job in self.left():
            done = self.trials_of(job)
            each = SECONDS_A_POINT
            if job.arm != DISTANCE and ARMS[job.arm].is_campaign:
                each = SECONDS_A_TRIAL
            seconds += each * max(0, job.trials - done) + SECONDS_TO_VERIFY
        return seconds / 60 / max(1, count)


def job_of(row: dict[str, Any]) -> Job:
    return Job(row["arm"], row["seed"], row["trials"], row["budget"])


def in_short(row: dict[str, Any]) -> str:
    """What a campaign came to, in a line."""
    claimed = row["course"][-1]["claimed"] if row["course"] else None
    if not row["verified"]:
        return f"nothing is kept ({row['ended']})"
    last = row["verified"][-1]
    return f"claimed {claimed}, verified {last['mean']} ({last['low']} to {last['high']})"
