"""A run leaves nothing behind trial after trial: open descriptors, processes, temporary files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest
from staged import audits, play

from agent import loop
from agent.steps.runtime import Runtime


@pytest.mark.process
def test_descriptors_and_processes_do_not_grow_with_the_trials(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second trial is kept, so that all that is done to git is done again and again."""

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def in_use() -> tuple[int, int, int]:
        process, files = psutil.Process(), len(list(folder.iterdir()))
        return process.num_fds(), len(process.children(recursive=True)), files

    runtime.settings = runtime.settings.model_copy(update={"keep": "greedy", "nulls": 0.0})
    play(monkeypatch, 1.5, *[(1.5, 1.49), (1.5, 1.51)] * 10)
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    for _ in range(4):
        loop.one_trial(runtime)
    before = in_use()
    for _ in range(12):
        loop.one_trial(runtime)
    assert in_use() == before
    verdicts = [trial.verdict for trial in runtime.campaign.state.trials[1:]]
    assert verdicts == ["keep", "revert"] * 8
