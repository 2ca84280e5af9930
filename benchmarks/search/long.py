"""A long campaign from the plain start, beside plain TPE with the same device time, and luck.

    python -m benchmarks.search.long --minutes 50    one sitting; the same command goes on
    python -m benchmarks.search.long --publish       verify, harvest and report what there is so far

Two hours of device time, as ``status`` tells it, at the cpu preset and 20 s; deck and tuner
propose, and all else is as a user has it. TPE trains and scores for as long, luck a sixth of it:
the start again and again. ``--arm`` takes one of the three, so that two can have a core each. When
all are done, or asked for by ``--publish``, the campaign is verified, harvested and reported as by
a user; and the start, the champion, TPE's best point and the shipped train.py are trained in the
same heats, on test text and new seeds. All is kept in results/search-long.json and the folder
results/search-long, where work.tar.xz has what another machine needs to go on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.campaign.device_time import device_time
from agent.steps.fresh import interval
from agent.steps.stop import heeding
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from benchmarks.search import campaign
from benchmarks.search.arms import LUCK, TPE
from benchmarks.search.course import Found
from benchmarks.search.lines import read_lines
from benchmarks.search.one import HEATS, SHIPPED, say
from benchmarks.search.points import Point, ask, found_of, search, space_of
from benchmarks.search.real import START
from benchmarks.search.verified import verify
from trainer.data.prepare import cache_dir
from trainer.measure import MACHINE, resolve

SECONDS, BUDGET, SEED = 7200.0, "20s", 1
LUCK_SHARE = 1 / 6
"""What luck comes to is known sooner: its file is the start, whatever it claims."""
CAMPAIGN = "campaign"
ARMS = (CAMPAIGN, TPE.name, LUCK.name)
KEPT = RESULTS / "search-long"
ARCHIVE = KEPT / "work.tar.xz"
BRANCH = f"autoresearch/{campaign.TAG}"
SHOWN = {
    "verify.txt": ("agent", "verify", "--each"),
    "harvest.txt": ("agent", "harvest"),
    "status.txt": ("agent", "status"),
    "report.md": ("agent", "report", "--markdown"),
}
"""What a user asks of a campaign; each is kept as it is printed."""
MEASURED = {"verify.txt", "harvest.txt"}
"""They train for half an hour, and open the test text: what is there already is not asked again."""


class Long:
    """The campaign and its rivals, in a folder with which later sittings go on."""

    def __init__(
        self, folder: Path, seconds: float = SECONDS, budget: str = BUDGET, start: Path = START
    ) -> None:
        self.folder, self.seconds, self.budget, self.start = folder, seconds, budget, start
        self.source = campaign.with_preset(start.read_text())
        self.stop = threading.Event()

    def sit(self, minutes: float, arms: Sequence[str] = ARMS) -> bool:
        """Go on for so long, and to the end of a trial; returns whether these arms are done."""
        ends = time.monotonic() + 60 * minutes
        for arm in arms:
            if self.left(arm) > 0:
                self._run(arm, ends)
            if self.left(arm) > 0:  # it was stopped, or nothing is left to try
                return False
        return True

    def left(self, arm: str) -> float:
        """Seconds of device time that an arm still has."""
        return self.seconds * (LUCK_SHARE if arm == LUCK.name else 1.0) - self.taken(arm)

    def taken(self, arm: str) -> float:
        """Seconds of device time that an arm has taken."""
        if arm != CAMPAIGN:
            return sum(point["taken"] for point in read_lines(self.folder / f"{arm}.jsonl"))
        return device_time(campaign.state_of(self.folder).clock).busy if self._has_begun else 0.0

    def _run(self, arm: str, ends: float) -> None:
        def is_over(taken: float) -> bool:
            return taken >= self.taken(arm) + self.left(arm) or time.monotonic() >= ends

        if arm == CAMPAIGN:
            settings = {"budget": self.budget, "seed": str(SEED), "sequential": False}
            campaign.run(
                self.folder,
                self.start,
                settings,
                lambda state: is_over(device_time(state.clock).busy),
            )
            return

        def enough(points: Sequence[Point]) -> bool:
            return bool(points) and is_over(sum(point["taken"] for point in points))

        with heeding(self.stop, say):
            search(
                ask(arm, SEED, space_of(self.source, campaign.PRESET, as_stated=False)),
                self.source,
                self.folder / f"{arm}.jsonl",
                self.budget,
                lambda number: SEED + (number if arm == LUCK.name else 0),
                enough,
                self.stop,
                say,
            )

    @property
    def _has_begun(self) -> bool:
        return (self.folder / "repo" / "campaigns" / campaign.TAG).exists()

    def campaign(self) -> Found | None:
        """What the campaign has found so far; None before its baseline is trained."""
        if not self._has_begun:
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
        repo = self.folder / "repo"
        KEPT.mkdir(parents=True, exist_ok=True)
        for name, words in SHOWN.items():
            if not (name in MEASURED and (KEPT / name).exists()):
                (KEPT / name).write_text(printed(repo, sys.executable, "-m", *words))
        log = printed(repo, "git", "log", "--format=%h %s%n%n%w(0,4,4)%b", BRANCH)
        (KEPT / "git-log.txt").write_text(log)
        compared = self.compared()
        if compared is None:
            raise SystemExit("stopped; the same command goes on")
        pack(self.folder)
        arms = {CAMPAIGN: self.campaign(), **{a: self.points(a) for a in ARMS[1:]}}
        of = {"seconds": self.seconds, "budget": self.budget, "threads": resolve("cpu").threads}
        told = {
            name: told_of(found) | {"device_seconds": round(self.taken(name), 1)}
            for name, found in arms.items()
            if found
        }
        scores = [heat["scores"] for heat in read_lines(self.folder / HEATS)]
        told |= {"verified": compared, "scores_of_start_and_these": scores}
        keep("search-long", stamped | of | told | against(compared))


MADE_AGAIN = {"worktree", "trials", "report.html", "progress.png", "run.log"}
"""Of a campaign's folder: of trials only the files of their prompts and outputs are lost."""


def pack(folder: Path) -> None:
    """Keep what the arms have come to, without what can be made again."""

    def without(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = {*Path(entry.name).parts}
        is_made_again = "campaigns" in parts and parts & MADE_AGAIN
        return None if is_made_again or "worktrees" in parts else entry

    if (folder / "repo" / ".git").exists():
        subprocess.run(["git", "-C", str(folder / "repo"), "gc", "--quiet"], check=True)
    with tarfile.open(ARCHIVE, "w:xz") as archive:
        archive.add(folder, ".", filter=without)


def unpack(folder: Path) -> None:
    """Go on from what was kept, where nothing is there."""
    if ARCHIVE.exists() and not folder.exists():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")


def told_of(found: Found) -> dict[str, Any]:
    """The course, and what it comes to."""
    last = found.steps[-1]
    return {
        "device_seconds": round(last.seconds, 1),
        "trials": len(found.steps) - 1,
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
    parser.add_argument("--arm", choices=ARMS, help="only this one")
    args = parser.parse_args()
    unpack(args.work)
    long = Long(args.work)
    is_done = long.sit(args.minutes, [args.arm] if args.arm else ARMS) if args.minutes else False
    try:
        if (is_done and not args.arm) or args.publish:
            long.publish()
    finally:
        MACHINE.close()
    minutes = {arm: round(long.taken(arm) / 60, 1) for arm in ARMS}
    print(json.dumps({"done": is_done, "of_minutes": SECONDS / 60, "minutes": minutes}))


if __name__ == "__main__":
    main()
