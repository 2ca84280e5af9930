"""What a trial's heats have shown beside the champion of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agent.campaign.compared import curve, finding, pace
from agent.campaign.records import Training, Trial
from agent.forecast import PARTS

Losses = Sequence[float | None]
FLAT = (3.0,) * PARTS
ENDED = (*(2.9,) * 5, 2.5, *(None,) * 14)
"""A candidate that was ended after five twentieths; of the sixth it has seen the beginning."""


def heat(number: int, own: Losses, rival: Losses = FLAT, **fields: Any) -> tuple[Training, ...]:
    """Champion and candidate with these losses; ``fields`` are the candidate's."""
    usual = {"status": "ok", "val_bpb": 1.3, "steps": 100, "tokens": 1000, "heat": number}
    champion = Training(1, "champion", "b", number, losses=tuple(rival), **usual)
    return champion, Training(1, "candidate", "c", number, losses=tuple(own), **(usual | fields))


def trial(*heats: tuple[Training, ...], **fields: Any) -> Trial:
    trainings = tuple(training for pair in heats for training in pair)
    return Trial(1, candidate="c", trainings=trainings, **fields)


LATE = (*(None,) * 4, *(2.8,) * 16)
CRASHED = {"status": "crashed", "val_bpb": None}
CURVES: dict[str, tuple[Trial, Sequence[float | None]]] = {
    "nothing was trained": (trial(), ()),
    "one heat": (trial(heat(0, (2.9,) * PARTS)), [0.1] * 10),
    "the mean over heats": (trial(heat(0, (2.9,) * 20), heat(1, (3.3,) * 20)), [-0.1] * 10),
    "a tenth is two twentieths": (trial(heat(0, (2.8, 2.9, *(3.0,) * 18))), [0.15, *[0.0] * 9]),
    "nothing is logged at first": (trial(heat(0, LATE)), [None, None, *[0.2] * 8]),
    "nothing is logged": (trial(heat(0, (None,) * 20)), ()),
    "fewer are known of the champion": (trial(heat(0, (2.9,) * 20, FLAT[:7])), [0.1] * 4),
    "ended early": (
        trial(heat(0, ENDED, status="abandoned", val_bpb=None), forecast=(-0.1, 0.01)),
        [0.1] * 3,
    ),
    "ended in a later heat": (
        trial(heat(0, (3.1,) * 20), heat(1, ENDED, status="abandoned", val_bpb=None)),
        [*[0.0] * 2, pytest.approx(-0.1 / 3), *[-0.1] * 7],
    ),
    "other losses": (trial(heat(0, (2.9,) * 20), hides_loss=True), ()),
    "a heat that failed": (
        trial(heat(0, (2.9,) * 20), heat(1, (9.0,) * 20, **CRASHED)),
        [0.1] * 10,
    ),
    "a heat that does not count": (
        trial(heat(0, (2.9,) * 20), heat(1, (0.1,) * 20, counted=False)),
        [0.1] * 10,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CURVES)
def test_curve(case: str) -> None:
    found, expected = curve(CURVES[case][0]), CURVES[case][1]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is other is None or one == pytest.approx(other)


PACES: dict[str, tuple[Trial, tuple[float, float] | None]] = {
    "nothing was trained": (trial(), None),
    "as the champion": (trial(heat(0, FLAT)), (1.0, 1.0)),
    "the median": (
        trial(*(heat(n, FLAT, steps=s, tokens=900) for n, s in enumerate((50, 120, 80)))),
        (0.8, 0.9),
    ),
    "a heat that failed": (
        trial(heat(0, FLAT, steps=50), heat(1, FLAT, steps=900, **CRASHED)),
        (0.5, 1.0),
    ),
    "half of the budget": (trial(heat(0, FLAT, steps=50, tokens=500, spent=0.5)), (1.0, 1.0)),
    "of old journals": (trial(heat(0, FLAT, steps=0)), None),
    "ended early, without counts": (
        trial(heat(0, ENDED, status="abandoned", val_bpb=None, steps=0, tokens=0)),
        None,
    ),
}


@pytest.mark.parametrize("case", PACES)
def test_pace(case: str) -> None:
    found, expected = pace(PACES[case][0]), PACES[case][1]
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"status": "ok", "gain": -0.01, "gain_half": 0.009}, "lost"),
        ({"status": "ok", "gain": -0.01, "gain_half": 0.011}, "inconclusive"),
        ({"status": "ok", "gain": 0.01, "gain_half": 0.02}, "inconclusive"),
        ({"status": "ok", "gain": 0.01, "gain_half": 0.005}, "inconclusive"),
        ({"status": "ok", "gain": -0.01}, "lost"),
        ({"status": "abandoned", "gain": -0.06, "gain_half": 0.02}, "lost"),
        ({"status": "crashed", "gain": None}, ""),
        ({"status": "oversize", "gain": -0.1, "gain_half": 0.01}, ""),
        ({"status": "ok", "gain": None}, ""),
        ({"status": "ok", "gain": -0.01, "gain_half": 0.0, "verdict": "keep"}, ""),
        ({"status": "", "verdict": "rejected"}, ""),
    ],
)
def test_lost_is_not_inconclusive(fields: dict[str, Any], found: str) -> None:
    assert finding(Trial(1, **({"verdict": "revert"} | fields))) == found
