"""A campaign that has come some way, for tests of what happens to it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import git
from staged import audits, play

from agent import loop
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import CheckResult


@pytest.fixture
def grown(runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign that kept its baseline and two trials, and reverted one between them."""
    better = [(1.7, 1.66)] * 2
    git(home, "config", "user.name", "A User")
    git(home, "config", "user.email", "user@example.org")
    play(monkeypatch, 1.5, *better, (1.65, 1.75), *better)
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    for _ in range(3):
        loop.one_trial(runtime)
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
