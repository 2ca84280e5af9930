"""Replays every commit of a real campaign in a fresh clone: are all of them bit-exact?

    python -m benchmarks.replays --json   3 commits, at 3 s (about a minute)
    python -m benchmarks.replays --full   until 20 commits, at 4 s, kept in results/

Deck and tuner edit the shipped train.py, side by side under a budget of time. The clone has nothing
of the campaign but what `git fetch` brings: refs and notes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, keep, stamp

TAG = "t"
REFS = ("+refs/autoresearch/*:refs/autoresearch/*", "+refs/notes/*:refs/notes/*")


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=A User", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def agent(folder: Path, *args: str) -> Any:
    """The JSON of a command, which may exit with 1."""
    command = [sys.executable, "-m", "agent", *args, "--json"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"error: python -m agent {args[0]} printed nothing (see above)")
    return json.loads(done.stdout.splitlines()[-1])


def campaign(folder: Path, commits: int, budget: str) -> list[dict[str, Any]]:
    """Trials of a new campaign in a clone of this repository, until so many have commits."""
    git(folder.parent, "clone", "-q", str(ROOT), str(folder))
    trials, found = commits - 1, []
    while len(found) < commits:
        run = (
            "--tag",
            TAG,
            "--budget",
            budget,
            "--llm",
            "none",
            "--keep",
            "greedy",
            "--sequential",
        )
        agent(folder, "run", *run, "--trials", str(trials))
        found = [trial for trial in agent(folder, "log", "--tag", TAG) if trial["commit"]]
        trials += max(1, commits - len(found))
    return found[:commits]


def measured(commits: int, budget: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="autoresearch-replays-") as place:
        trials = campaign(Path(place) / "campaign", commits, budget)
        other = Path(place) / "other"
        git(Path(place), "clone", "-q", str(Path(place) / "campaign"), str(other))
        git(other, "fetch", "-q", "origin", *REFS)
        rows = []
        for trial in trials:
            found = agent(other, "replay", trial["commit"])
            ended = {name: trial[name] for name in ("trial", "verdict", "status", "category")}
            rows.append({**ended, "replay": found["verdict"], "different": found["differences"]})
            print(f"trial {trial['trial']}: {found['verdict']}", file=sys.stderr)
    verdicts = Counter(row["replay"] for row in rows)
    return {"budget": budget, "commits": len(rows), "replays": dict(verdicts), "trials": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    full = parser.parse_args().full
    command = f"python -m benchmarks.replays --{'full' if full else 'json'}"
    result = {**stamp(command), **(measured(20, "4s") if full else measured(3, "3s"))}
    if full:
        keep("replays", result)
    print(json.dumps(result))
    sys.exit(0 if set(result["replays"]) == {"bit-exact"} else 1)


if __name__ == "__main__":
    main()
