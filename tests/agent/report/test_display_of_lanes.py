"""What is shown while several trials are under way: the one that trains, and how many wait."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from events import Story, sha
from rich.console import Console

from agent.campaign.live import Live
from agent.report.display import Display
from agent.report.summary import status_json
from agent.report.terminal.rich_display import RichDisplay


@pytest.fixture
def story() -> Story:
    """Trials 1 and 2 have candidates, 3 is drafted; 1 trains."""
    story = Story()
    story.baseline(1.30)
    for number in (1, 2):
        story.candidate(story.draw("schedule"), f"edit {number}")
    story.draw("optimizer")
    story.add("heat_started", trial=1, heat=0, seeds=[2, 2], new_seeds=1)
    return story


def log(trial: int) -> dict[str, Any]:
    return {"event": "log", "step": trial, "loss": 3.2, "spent": 0.5, "training": 1}


@pytest.mark.parametrize("rich", [False, True])
def test_it_is_the_trial_that_trains(story: Story, tmp_path: Path, rich: bool) -> None:
    out = io.StringIO()
    display = RichDisplay(Console(file=out, force_terminal=True)) if rich else Display(out)
    one, two, three = story.state.open_trials

    def shown() -> dict[str, Any]:
        live = display._live.model_dump()
        return {name: live[name] for name in ("trial", "stage", "step", "drafts")}

    with display.attached("t", story.state, tmp_path):
        display.heat(one, 0, "20s", others=[2])
        assert json.loads((tmp_path / "live.json").read_text())["drafts"] == 2
        display.event(log(1), 1)
        training = {"trial": 1, "stage": "training", "step": 1, "drafts": 2}
        assert shown() == training
        display.proposing(three)
        display.event(log(2), 2)
        display.event({"event": "waiting", "seconds": 30}, 3)
        display.event({"event": "paused"}, 4)
        story.heat(2, 1.30, 1.31)
        display.heat_over(two, story.state.trials[2].heats[0])
        assert shown() == training
        assert display._live.words.endswith("; 2 more drafted or in draft")
        story.heat(1, 1.30, 1.31)
        display.heat_over(one, story.state.trials[1].heats[0])
        assert shown()["stage"] == "judging"
        display.proposing(three)
        assert shown()["trial"] == 3
    display.close()


def test_alone_it_says_nothing_of_others() -> None:
    story = Story()
    story.baseline(1.30)
    assert Live.of(story.state.trials[0], stage="judging").words == "trial 0: judging"


def test_status_counts_what_was_carried_over_and_lost(story: Story) -> None:
    story.add("carried", trial=1, candidate=sha("merged"), parent=sha("champion"))
    story.end(2, "rejected", "rejected, as it could not be carried over")
    status = status_json(story.state, "t", None, {})
    assert status["drafts"] == {"carried_over": 1, "lost": 1}
