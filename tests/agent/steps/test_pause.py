"""A run that is paused between two trials, and goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import run_here
from project import clone_without_model
from runtimes import running

from agent.campaign.events import RunBegun
from agent.campaign.files import PAUSE
from agent.campaign.journal import read_events
from agent.campaign.reading import CampaignError
from agent.commands.shared import status_of
from agent.steps.pause import pause_run, wait_while_paused
from agent.steps.stop import forget_request


def test_a_paused_run_waits_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = clone_without_model(tmp_path / "home")
    with running(home, tmp_path / "out") as runtime:
        campaign, repo = runtime.campaign, runtime.campaign.repo
        campaign.record(RunBegun(pid=os.getpid(), settings={}))
        runtime.read_program()
        assert status_of(repo, "t", campaign.state)["state"] == "running"
        said = json.loads(run_here(home, "pause", "--tag", "t", "--json").stdout)
        assert said == {"tag": "t", "paused": True}
        assert status_of(repo, "t", campaign.state)["state"] == "paused"
        waited: list[float] = []

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            if len(waited) == 3:
                pause_run(repo, "t", off=True)
            return False

        monkeypatch.setattr(runtime.stop, "wait", wait)
        wait_while_paused(runtime)
        wait_while_paused(runtime)
        assert len(waited) == 3
        happened = [event.event for event in read_events(campaign.journal.path)]
        assert happened.count("paused") == 1  # when it is over
        assert status_of(repo, "t", campaign.state)["state"] == "running"
    assert (tmp_path / "out").read_text().count("paused, as asked") == 1


def test_a_paused_run_can_be_stopped_and_the_next_one_goes_on(tmp_path: Path) -> None:
    home = clone_without_model(tmp_path / "home")
    with running(home, tmp_path / "out") as runtime:
        (runtime.campaign.folder / PAUSE).touch()
        runtime.stop.set()
        wait_while_paused(runtime)
    with pytest.raises(CampaignError, match="not running"):
        pause_run(runtime.campaign.repo, "t")
    forget_request(runtime.campaign.repo, "t")
    assert not (runtime.campaign.folder / PAUSE).exists()
