"""What the benchmark of heats says of candidates that are given up, from hand-made readings."""

from __future__ import annotations

import random
from typing import Any

import pytest

from benchmarks.heats_abandoning import abandoning, courses
from benchmarks.heats_keeps import KINDS

LOSSES = [7.0 - 0.2 * window for window in range(20)]


def reading(number: int, dice: random.Random) -> dict[str, Any]:
    """A null heat whose losses and scores scatter by the same hundredth."""
    trainings = []
    for role in ("champion", "structural", "numeric"):
        luck = dice.gauss(0, 0.01)
        trainings.append(
            {
                "role": role, "status": "ok", "how": "side by side", "val_bpb": 1.6 + luck,
                "curve": [loss + 2 * luck + dice.gauss(0, 0.01) for loss in LOSSES],
            }
        )  # fmt: skip
    case = {"part": "nulls", "name": "as shipped", "number": number, "seconds": 2.5}
    return case | {"neighbour": True, "runs": [{"wall_seconds": 9.0, "trainings": trainings}]}


def readings(count: int = 60) -> list[dict[str, Any]]:
    dice = random.Random(0)
    return [reading(number, dice) for number in range(count)]


def test_losses_are_told_in_bits_per_byte() -> None:
    (course,) = courses(readings(1), "numeric", 0.01)
    champion = readings(1)[0]["runs"][0]["trainings"][0]
    assert course.champion[-1] == pytest.approx(champion["val_bpb"])


def test_the_bad_are_given_up_and_the_good_are_not() -> None:
    found = abandoning(readings())
    assert set(found) == set(KINDS)
    for kind in KINDS:
        assert found[kind]["heats"] == 60
        for name in ("at first", "learnt"):
            by_gain = found[kind][name]
            shares = [each["abandoned"] for each in by_gain.values()]
            assert shares == sorted(shares, reverse=True)
            assert by_gain["+2 scales"]["abandoned"] <= 0.02
        assert found[kind]["learnt"]["-16 scales"]["abandoned"] > 0.95
        assert found[kind]["learnt"]["-16 scales"]["trained"] < 0.6


def test_trainings_that_logged_nothing_are_not_given_up() -> None:
    silent = readings(3)
    for each in silent:
        for training in each["runs"][0]["trainings"]:
            training["curve"] = [None] * 20
    assert abandoning(silent)["numeric"]["at first"]["-16 scales"]["abandoned"] == 0.0
