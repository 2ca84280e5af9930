"""What counts as a loss after kills, and that the benchmark goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills, machine
from benchmarks.kills_compare import CLOSE, differences

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
    "prior": {"architecture": 0.75, "schedule": 0.25},
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
        (changed("prior", "schedule", to=0.25 - CLOSE / 2), []),
        (changed("trials", 0, "gains", 0, to=0.1 + 2 * CLOSE), ["trials 0 gains 0"]),
        (changed("trials", 0, "gains", to=[0.1]), ["trials 0 gains"]),
        (changed("trials", 0, "trainings", 0, 4, to=4.25 + 1e-15), ["trials 0 trainings 0 4"]),
        (changed("trials", 0, "tree", to="b2"), ["trials 0 tree"]),
        (changed("trials", 0, "verdict", to="revert"), ["trials 0 verdict"]),
        (changed("trials", to=[]), ["trials"]),
        (changed("prior", "schedule", to=0.5), ["prior schedule"]),
    ],
)
def test_a_loss_is_what_differs_beyond_the_audits_chance(
    other: dict[str, Any], losses: list[str]
) -> None:
    assert [loss.partition(":")[0] for loss in differences(CALM, other)] == losses


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
