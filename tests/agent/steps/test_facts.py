"""What a proposer is told of the champion."""

from __future__ import annotations

import json

import pytest
from staged import play

from agent import loop
from agent.steps.runtime import Runtime, curve_line


def test_a_curve_in_a_dozen_points() -> None:
    curve = [(0.1 * k, k, 7.0 - 0.01 * k) for k in range(300)]
    points = curve_line(curve).split(", ")
    assert len(points) == 12
    assert (points[0], points[-1]) == ("0.0 s 7.00", "29.9 s 4.01")
    assert curve_line(curve[:3]) == "0.0 s 7.00, 0.1 s 6.99, 0.2 s 6.98"
    assert curve_line([]) == ""


def test_the_champions_curve_is_told(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    assert not any("training loss" in name for name in runtime.context(1).facts)
    path = runtime.campaign.folder / "trials" / "0" / "training-1.curve.json"
    path.write_text(json.dumps([[1.0, 0, 7.6], [19.0, 400, 3.2]]))
    (told,) = [v for k, v in runtime.context(1).facts.items() if "training loss" in k]
    assert told == "1.0 s 7.60, 19.0 s 3.20"
    assert runtime.context(1).preset == "cpu", "by which what is known is told"
