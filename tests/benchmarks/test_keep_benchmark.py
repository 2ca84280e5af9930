"""The parts of the benchmark of keeps; its campaigns are the benchmark itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.edits.constants import constants
from benchmarks import keep
from benchmarks.machine import ROOT


def campaign(rule: str, claimed: float, gain: dict[str, float] | None) -> dict[str, Any]:
    verified = {
        "claimed_gain": {"mean": claimed, "low": 0.0, "high": 1.0},
        "gain": gain,
        "each": [
            {"trial": 3, "gain": {"mean": 0.01, "low": 0.0, "high": 0.02}},
            {"trial": 7, "gain": {"mean": -0.001, "low": -0.01, "high": 0.01}},
        ],
        "opened": 1,
    }
    status = {"trials": 40, "kept": 2, "nulls": 2, "nulls_kept": 0}
    return {"rule": rule, "status": status, "verified": verified, "trials": []}


@pytest.mark.parametrize(
    ("gain", "holds"),
    [
        ({"mean": 0.02, "low": 0.01, "high": 0.03}, True),
        ({"mean": 0.01, "low": 0.0, "high": 0.02}, False),
        ({"mean": -0.02, "low": -0.03, "high": -0.01}, False),
        (None, None),
    ],
)
def test_a_claim_holds_up_to_a_fifth_above_the_interval(
    gain: dict[str, float] | None, holds: bool | None
) -> None:
    found = keep.summary([campaign("confirm", 0.03, gain)])["confirm"]
    assert found["claim_holds"] is holds
    assert found["keeps_not_verified"] == [7]


@pytest.mark.process
def test_the_file_that_is_set_off_differs_in_its_constants_only(tmp_path: Path) -> None:
    keep.make(tmp_path)
    keep.make(tmp_path)  # is there already
    shipped = {c.name: c.value for c in constants((ROOT / "trainer/train.py").read_text())}
    off = {c.name: c.value for c in constants((tmp_path / "trainer/train.py").read_text())}
    assert {name: off[name] for name in off if off[name] != shipped[name]} == keep.OFF
    assert all(shipped[name] != value for name, value in keep.OFF.items())


def test_what_is_not_recorded_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keep, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["keep", "--json"])
    with pytest.raises(SystemExit, match="nothing is recorded yet"):
        keep.main()
    record = {"command": "c", "campaigns": [campaign("confirm", 0.03, None)]}
    (tmp_path / "keep.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match="0"):
        keep.main()
    said = json.loads(capsys.readouterr().out)
    assert said["rules"]["confirm"]["kept"] == 2 and not said["measured_now"]
