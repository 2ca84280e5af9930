"""What counts as a loss after kills, and that the benchmark goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from events import Story

from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from benchmarks import kills, machine
from benchmarks.kills_compare import CLOSE, contradictions, differences

RECORDED = Path(__file__).parents[1] / "agent" / "campaign" / "recorded"
CALM: dict[str, Any] = {
    "trials": [
        {
            "verdict": "keep",
            "tree": "a1",
            "gains": [0.1, 0.12],
            "reward": 1.0,
            "trainings": [["candidate", 0, 3, "ok", 4.25, "f00", False]],
        }
    ],
    "seeds": 7,
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    other: dict[str, Any] = json.loads(json.dumps(CALM))
    place: Any = other
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return other


@pytest.mark.parametrize(
    ("other", "losses"),
    [
        (CALM, []),
        (changed("trials", 0, "gains", 0, to=0.1 + CLOSE / 2), []),
        (changed("trials", 0, "reward", to=1.0 - CLOSE / 2), []),
        (changed("trials", 0, "reward", to=1.0 - 2 * CLOSE), ["trials 0 reward"]),
        (changed("trials", 0, "gains", 0, to=0.1 + 2 * CLOSE), ["trials 0 gains 0"]),
        (changed("trials", 0, "gains", to=[0.1]), ["trials 0 gains"]),
        (changed("trials", 0, "trainings", 0, 4, to=4.25 + 1e-15), ["trials 0 trainings 0 4"]),
        (changed("trials", 0, "tree", to="b2"), ["trials 0 tree"]),
        (changed("trials", 0, "verdict", to="revert"), ["trials 0 verdict"]),
        (changed("trials", to=[]), ["trials"]),
        (changed("seeds", to=8), ["seeds"]),
    ],
)
def test_a_loss_is_what_differs_beyond_the_audits_chance(
    other: dict[str, Any], losses: list[str]
) -> None:
    assert [loss.partition(":")[0] for loss in differences(CALM, other)] == losses


@pytest.mark.parametrize(
    ("propensity", "seeds", "told"),
    [
        (0.5, [5, 5], []),
        (0.5, [5, 6], ["event 13 begins again with seeds (6, 6) instead of (5, 5)"]),
        (0.5 + 1e-15, [5, 5], ["trial 1 had propensity"]),
        (0.48, [5, 5], ["trial 1 had propensity"]),
    ],
)
def test_a_journal_contradicts_itself(
    propensity: float, seeds: list[int], told: list[str], tmp_path: Path
) -> None:
    """By a prior that does not follow from the rewards, or a heat done again with other seeds."""
    story = Story()
    story.baseline()
    number = story.draw("a", available=["a", "b"], categories=["a", "b"])
    story.events[-1]["propensity"] = propensity
    story.candidate(number, "x")
    for seed in seeds:
        story.add("heat_started", trial=number, heat=0, seeds=[seed, seed], new_seeds=1)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(write_line(read_event(event)) for event in story.events))
    found = [*contradictions(path, seed=0)]
    assert len(found) == len(told) and all(map(str.startswith, found, told)), found


@pytest.mark.parametrize("told", [0.0, 1e-6])
def test_a_reward_follows_from_its_differences(told: float, tmp_path: Path) -> None:
    journal, path = RECORDED / "2026-11-28.jsonl", tmp_path / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    taught = [e for e in events if e["event"] == "verdict" and e.get("reward") is not None]
    assert taught
    taught[-1]["reward"] += told
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    found = [loss for loss in contradictions(path, seed=0) if " reward " in loss]
    assert len(found) == (told > 0)


def test_an_interrupted_benchmark_takes_the_campaigns_that_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def one_campaign(seed: int) -> dict[str, Any]:
        asked.append(seed)
        losses = ["prior schedule: 0.5 is 0.25 after kills"] if seed == 2 else []
        return {"seed": seed, "kills": [{"victim": "tree"}] * 10, "losses": losses}

    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(kills, "RESULTS", tmp_path)
    monkeypatch.setattr(kills, "CAMPAIGNS", 4)
    monkeypatch.setattr(kills, "one_campaign", one_campaign)
    (tmp_path / "kills.json").write_text(json.dumps({"each": [one_campaign(0), one_campaign(1)]}))
    asked.clear()

    found = kills.full()

    assert asked == [2, 3]
    assert (found["campaigns"], found["kills"], found["victims"]) == (4, 40, {"tree": 40})
    assert found["campaigns_with_losses"] == 1
    assert json.loads((tmp_path / "kills.json").read_text()) == found
    kills.full()
    assert asked == [2, 3, 0, 1, 2, 3]
