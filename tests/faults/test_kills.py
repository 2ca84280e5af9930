"""kill -9 at every kind of moment: the campaign goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills_campaign, kills_compare
from benchmarks.kills_campaign import Kill, Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]

TRIALS = 3
BESIDE_EVENTS: tuple[Kill, ...] = (
    {"step": 8},  # while branch and worktree are made
    *({"kind": "candidate", "side": side} for side in ("before", "after")),
    {"kind": "verdict", "side": "after"},
    {"step": 2},  # while the verdict is brought to git
    {"kind": "heat", "side": "before"},  # of one that crashes
    {"kind": "repair", "side": "after"},
    {"kind": "audit", "side": "before"},
    {"kind": "verdict", "side": "after"},  # of a keep
    {"kind": "stop", "side": "after"},  # before the report
)
"""Both sides of every event: ``test_beside_every_event``."""
STOP_AND_DIE = """
import os, signal, time
from agent import cli

time.sleep = lambda seconds: os.kill(os.getpid(), signal.SIGKILL)  # it has asked, and waits
cli.main()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def undisturbed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same campaign, which nobody kills."""
    site = kills_campaign.make(tmp_path_factory.mktemp("undisturbed"), shared, TRIALS)
    status, output = kills_campaign.run(site)
    assert status == 0, output
    return site


@pytest.fixture
def site(shared: Path, tmp_path: Path) -> Site:
    return kills_campaign.make(tmp_path / "site", shared, TRIALS)


def events(site: Site) -> list[dict[str, Any]]:
    path = site.campaign / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kill(site: Site, moment: Kill) -> None:
    """Run until the kill ends it, as it must."""
    status, output = kills_campaign.run(site, moment)
    assert status == -9, f"{moment}: {output}"
    assert "still there" not in output


def finish(site: Site) -> None:
    status, output = kills_campaign.run(site)
    assert status == 0, output
    assert not kills_compare.left(site)


def assert_same(site: Site, undisturbed: Site) -> None:
    before, after = map(kills_compare.outcome, (undisturbed, site))
    assert not [*kills_compare.differences(before, after)]


def test_the_campaign_has_one_of_everything(undisturbed: Site) -> None:
    trials = kills_compare.outcome(undisturbed)["trials"]
    assert {trial["verdict"] for trial in trials} == {"keep", "revert", "rejected"}
    assert any(trial["category"] == "null" for trial in trials)
    assert {"turned_down", "repair", "audit"} <= {event["event"] for event in events(undisturbed)}
    assert not kills_compare.left(undisturbed)


@pytest.mark.slow
def test_beside_events_with_an_effect(site: Site, undisturbed: Site) -> None:
    for moment in BESIDE_EVENTS:
        kill(site, moment)
    finish(site)
    assert_same(site, undisturbed)


@pytest.mark.slow
def test_at_random_moments(site: Site, undisturbed: Site) -> None:
    faults = kills_campaign.run_and_kill(site, 20, undisturbed.events(), random.Random(14))
    assert not faults
    assert len(kills_campaign.kills_of(site)) == 20
    assert not kills_compare.left(site)
    assert_same(site, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("side", ["before", "after"])
def test_beside_every_event(site: Site, undisturbed: Site, side: str) -> None:
    """Each run gets one event further than the one before: its first event is that of a run."""
    for _ in range(200):
        number = bool(site.events()) + (side == "before")
        status, output = kills_campaign.run(site, {"event": number, "side": side})
        if status == 0:
            break
        assert status == -9, output
    assert_same(site, undisturbed)
    assert not kills_compare.left(site)


@pytest.mark.slow
def test_a_stop_that_is_killed_has_stopped_the_run(shared: Path, tmp_path: Path) -> None:
    site = kills_campaign.make(tmp_path / "site", shared, trials=0)
    with kills_campaign.start(site) as process:
        deadline = time.monotonic() + 120
        while not any(event["event"] == "training_started" for event in events(site)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        command = [sys.executable, "-c", STOP_AND_DIE, "stop"]
        assert subprocess.run(command, cwd=site.repo, env=site.environ).returncode == -9
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert events(site)[-1]["event"] == "stop"
    finish(site)
    assert events(site)[-1]["reason"] == "0 trials are done"
