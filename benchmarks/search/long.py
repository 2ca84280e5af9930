"""A long campaign from the plain start, beside plain TPE and luck with the same device time.

    python -m benchmarks.search.long --minutes 50    one sitting; the same command goes on
    python -m benchmarks.search.long --publish       verify, harvest and report what there is so far

Two hours of training and scoring in all, at the cpu preset and 20 s, on all cores; deck and tuner
propose. Then TPE has as much device time, then luck. When all three are done, or asked for by
``--publish``, the campaign is verified, harvested and reported as by a user; and the start, the
champion, TPE's best point and the shipped train.py are trained in the same heats, on test text and
new seeds. All is kept in results/search-long.json and the folder results/search-long.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.steps.fresh import interval
from agent.steps.stop import heeding
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from benchmarks.search import campaign
from benchmarks.search.arms import LUCK, TPE
from benchmarks.search.course import Found, steps_of
from benchmarks.search.lines import read_lines
from benchmarks.search.one import HEATS, SHIPPED, say
from benchmarks.search.points import Point, ask, found_of, search, space_of
from benchmarks.search.real import START
from benchmarks.search.verified import verify
from trainer.data.prepare import cache_dir
from trainer.measure import MACHINE, resolve

SECONDS, BUDGET, SEED = 7200.0, "20s", 1
BRANCH = f"autoresearch/{campaign.TAG}"
SHOWN = {
    "verify.txt": ("agent", "verify", "--each"),
    "harvest.txt": ("agent", "harvest"),
    "status.txt": ("agent", "status"),
    "report.md": ("agent", "report", "--markdown"),
}
"""What a user asks of a campaign; each is kept as it is printed."""


class Long:
    """The campaign and its rivals, in a folder with which later sittings go on."""

    def __init__(
        self, folder: Path, seconds: float = SECONDS, budget: str = BUDGET, start: Path = START
    ) -> None:
        self.folder, self.seconds, self.budget, self.start = folder, seconds, budget, start
        self.source = campaign.with_preset(start.read_text())
        self.stop = threading.Event()

    def sit(self, minutes: float) -> bool:
        """Go on for so long, and to the end of a trial; returns whether all is done."""
        ends = time.monotonic() + 60 * minutes

        def is_over(seconds: float) -> bool:
            return seconds >= self.seconds or time.monotonic() >= ends

        if spent(self.campaign()) < self.seconds:
            settings = {"budget": self.budget, "seed": str(SEED)}
            campaign.run(
                self.folder,
                self.start,
                settings,
                lambda state: is_over(steps_of(state)[-1].seconds),
            )
        if spent(self.campaign()) < self.seconds:  # it was stopped, or nothing is left to try
            return False
        with heeding(self.stop, say):
            for arm in (TPE.name, LUCK.name):
                found = self.train_points(arm, is_over)
                if found is None or spent(found) < self.seconds:
                    return False
        return True

    def train_points(self, arm: str, is_over: Callable[[float], bool]) -> Found | None:
        """Train points until they have taken their time; None if it was asked to stop."""

        def enough(points: Sequence[Point]) -> bool:
            return bool(points) and is_over(sum(point["seconds"] for point in points))

        return search(
            ask(arm, SEED, space_of(self.source, campaign.PRESET, as_stated=False)),
            self.source,
            self.folder / f"{arm}.jsonl",
            self.budget,
            lambda number: SEED + (number if arm == LUCK.name else 0),
            enough,
            self.stop,
            say,
        )

    def campaign(self) -> Found | None:
        """What the campaign has found so far; None before its baseline is trained."""
        if not (self.folder / "repo" / "campaigns" / campaign.TAG).exists():
            return None
        found = campaign.found(self.folder, "")
        return found if found.steps else None

    def points(self, arm: str) -> Found | None:
        """What an arm of points has found so far; None if nothing is trained."""
        recorded = read_lines(self.folder / f"{arm}.jsonl")
        return found_of(recorded, self.source) if recorded else None

    def compared(self) -> list[dict[str, Any]] | None:
        """The start beside champion, TPE's best point and the shipped file; None if stopped."""
        files = {"start": self.source}
        for name, found in (("champion", self.campaign()), (TPE.name, self.points(TPE.name))):
            if found is not None and len(found.files) > 1:
                files[name] = list(found.files.values())[-1]
        files["shipped"] = campaign.with_preset(SHIPPED.read_text())
        with heeding(self.stop, say):
            return verify(files, "long", self.budget, self.folder / HEATS, self.stop, say)

    def publish(self) -> None:
        """Write results/search-long.json and what a user would see."""
        stamped = stamp("python -m benchmarks.search.long")
        repo, shown = self.folder / "repo", RESULTS / "search-long"
        shown.mkdir(parents=True, exist_ok=True)
        for name, words in SHOWN.items():
            (shown / name).write_text(printed(repo, sys.executable, "-m", *words))
        log = printed(repo, "git", "log", "--format=%h %s%n%n%w(0,4,4)%b", BRANCH)
        (shown / "git-log.txt").write_text(log)
        compared = self.compared()
        if compared is None:
            raise SystemExit("stopped; the same command goes on")
        arms = {"campaign": self.campaign(), **{a: self.points(a) for a in (TPE.name, LUCK.name)}}
        of = {"seconds": self.seconds, "budget": self.budget, "threads": resolve("cpu").threads}
        told = {name: told_of(found) for name, found in arms.items() if found}
        keep("search-long", stamped | of | told | {"verified": compared} | against(compared))


def spent(found: Found | None) -> float:
    """Device seconds."""
    return found.steps[-1].seconds if found else 0.0


def told_of(found: Found) -> dict[str, Any]:
    """The course, and what it comes to."""
    last = found.steps[-1]
    return {
        "device_seconds": round(last.seconds, 1),
        "trials": last.trial,
        "kept": len(found.files) - 1,
        "claimed": round(last.claimed, 5),
        "course": [asdict(step) for step in found.steps if step.kept or step is last],
    }


def against(compared: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The champion's gain over TPE's best point, a seed, with its interval; {} without both."""
    gains = {one["trial"]: one["gains"] for one in compared}
    if not {"champion", TPE.name} <= gains.keys() or any(one["failed"] for one in compared):
        return {}
    pairs = zip(gains["champion"], gains[TPE.name], strict=True)
    return {"over_tpe": asdict(interval([ours - theirs for ours, theirs in pairs]))}


def printed(folder: Path, *command: str) -> str:
    """What a command prints in ``folder``.

    Raises:
        SystemExit: it failed; it has said why.
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "GIT_PAGER": "cat"}
    done = subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}")
    return done.stdout.replace(str(ROOT), ".").replace(str(folder), ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=0.0, help="how long this sitting may take")
    parser.add_argument("--publish", action="store_true", help="what there is so far")
    parser.add_argument(
        "--work", type=Path, default=cache_dir() / "benchmarks" / "search-long", help="where it is"
    )
    args = parser.parse_args()
    long = Long(args.work)
    is_done = long.sit(args.minutes) if args.minutes else False
    try:
        if is_done or args.publish:
            long.publish()
    finally:
        MACHINE.close()
    arms = {"campaign": long.campaign(), **{a: long.points(a) for a in (TPE.name, LUCK.name)}}
    minutes = {name: round(spent(found) / 60, 1) for name, found in arms.items()}
    print(json.dumps({"done": is_done, "of_minutes": SECONDS / 60, "minutes": minutes}))


if __name__ == "__main__":
    main()
