"""A real campaign from a file, in a repository of its own, in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.campaign import reading
from agent.campaign.commits import baseline_source
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.report.display import Display
from agent.steps.runtime import Runtime, Stopped
from agent.steps.start import open_runtime
from benchmarks.keep import make
from benchmarks.search.course import Found, steps_of
from trainer.source import plain

TAG = "search"
PRESET = "cpu"


def repository(folder: Path) -> Path:
    """A user's repository in ``folder``, made if it is not there."""
    if not (folder / "repo").exists():
        shutil.rmtree(folder / "repo.new", ignore_errors=True)  # a kill may have left half of it
        make(folder / "repo.new", {})
        (folder / "repo.new").replace(folder / "repo")
    return folder / "repo"


def run(
    folder: Path,
    start: Path,
    settings: Mapping[str, Any],
    enough: Callable[[State], bool] = lambda state: False,
) -> str | None:
    """Begin or resume ``agent run --start`` without a model, until it ends; returns why.

    Args:
        settings: more of its options, by the names of ``Settings``.
        enough: asked after each trial whether it ends.

    Returns:
        None if it was asked to stop by a signal.
    """
    repo = Repo.open(repository(folder))
    given: dict[str, Any] = {"llm": "none", "preset": PRESET, "sequential": True, **settings}
    with (
        closing(Display(sys.stderr)) as display,
        open_runtime(repo, TAG, given, repo.root / "program.md", display, start=start) as runtime,
    ):
        _end_after(runtime, enough)
        ended = run_campaign(runtime)
        return None if runtime.stop.is_set() else ended


def _end_after(runtime: Runtime, enough: Callable[[State], bool]) -> None:
    """Have the run end after the first trial after which there is enough."""
    inner = runtime.after_trial

    def after_trial() -> None:
        inner()
        if enough(runtime.campaign.state):
            raise Stopped("that is enough")

    runtime.after_trial = after_trial


def state_of(folder: Path) -> State:
    return reading.load(Repo.open(folder / "repo"), TAG)


def found(folder: Path, ended: str) -> Found:
    """What the campaign in ``folder`` has come to."""
    repo, state = Repo.open(folder / "repo"), state_of(folder)
    kept = [trial for trial in state.real if trial.kept]
    files = {trial.trial: plain(repo.read_file(trial.commit)) for trial in kept}
    return Found(steps_of(state), files, ended)


def with_preset(source: str) -> str:
    """A start with the constants of the preset, as trial 0 of a campaign has it."""
    return baseline_source("", {"start_source": source, "preset": PRESET})
