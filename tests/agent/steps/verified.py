"""``verify`` of a campaign that has kept edits, as a command, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import Done, run_here
from project import events
from staged import Score


def sources(home: Path, count: int) -> list[str]:
    source = (home / "trainer/train.py").read_text()
    return [source, *(f"{source}\nEDITS = {n}\n" for n in range(1, count + 1))]


def gaining(each: float = 0.007, wobble: float = 0.0) -> Any:
    """Each edit gains so much, but for a wobble by seed."""

    def score(source: str, seed: int) -> Score:
        edits = int(source.rpartition("EDITS = ")[2]) if "EDITS" in source else 0
        return 1.6 - each * edits - wobble * (seed % 7) * edits + 0.001 * (seed % 5)

    return score


def verify(home: Path, *args: str) -> Any:
    done = run_here(home, "verify", "--json", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def opened(home: Path) -> list[str]:
    return [event["by"] for event in events(home) if event["event"] == "opened"]


def said(home: Path, *args: str) -> str:
    return run_here(home, *args).stdout


def failed(done: Done, words: str) -> None:
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and words in line
