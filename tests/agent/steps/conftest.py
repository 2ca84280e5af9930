"""A campaign that has come some way, for tests of what happens to it afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from lab import PROMPTS, Lab, use
from project import clone_without_model, git
from runtimes import running
from staged import audits, play

from agent import loop
from agent.proposers.llm import LLMProposer
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import CheckResult


@pytest.fixture(scope="session")
def grown_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its repository: copied for each test, since git takes longer than copying."""
    home = clone_without_model(tmp_path_factory.mktemp("grown"))
    git(home, "config", "user.name", "A User")
    git(home, "config", "user.email", "user@example.org")
    better = [(1.7, 1.66)] * 2
    out = tmp_path_factory.mktemp("out") / "out.txt"
    with pytest.MonkeyPatch.context() as patch, running(home, out) as runtime:
        patch.setattr(measure, "check", lambda source, **options: CheckResult("ok", params=1000))
        play(patch, 1.5, *better, (1.65, 1.75), *better)
        audits(patch, bound=0.0)
        loop.baseline(runtime)
        for _ in range(3):
            loop.one_trial(runtime)
    return home


@pytest.fixture
def grown(
    grown_once: Path, home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Runtime:
    """A campaign that kept its baseline and two trials, and reverted one between them."""
    shutil.copytree(grown_once, home, dirs_exist_ok=True)
    for name in ("campaigns/t/worktree/.git", ".git/worktrees/worktree/gitdir"):
        path = home / name
        path.write_text(path.read_text().replace(str(grown_once), str(home)))
    audits(monkeypatch, bound=0.0)
    runtime: Runtime = request.getfixturevalue("runtime")
    assert [t.verdict for t in runtime.campaign.state.trials] == ["keep", "keep", "revert", "keep"]
    assert not runtime.campaign.messages
    return runtime


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The sources that passed a check, which takes no training here, and how they were checked."""
    found: list[tuple[str, dict[str, Any]]] = []

    def check(source: str, **how: Any) -> CheckResult:
        found.append((source, how))
        return CheckResult("ok")

    monkeypatch.setattr(measure, "check", check)
    return found


@pytest.fixture
def lab(runtime: Runtime) -> Lab:
    lab = Lab(lambda source: 1.5)
    runtime.devices.executor = lab
    runtime.proposer = LLMProposer(lab, PROMPTS, cancel=runtime.stop)
    use(runtime, sequential=False, heat="1", nulls=0.0, notebook=False, trials=3)
    return lab
