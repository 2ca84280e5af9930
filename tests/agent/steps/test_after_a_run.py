"""What is measured after a run: on its devices, several seeds at a time where there are several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from kept_edits import keep_edits
from project import as_json, events
from staged import TwoDevices, answer
from verified import failed, gaining, opened, sources, verify

from agent.campaign.events import RunBegun
from agent.executors import choose
from agent.executors.ray import RayError

pytestmark = pytest.mark.process


@pytest.fixture
def kept(home: Path) -> Path:
    """A campaign whose last run was on a cluster."""
    campaign = keep_edits(home, sources(home, 1))
    campaign.record(RunBegun(settings={"workers": 2, "ray": "head:6379"}, slots=2))
    campaign.close()
    return home


def test_all_of_it_is_measured_where_the_run_was(
    kept: Path, monkeypatch: pytest.MonkeyPatch, checked: list[Any]
) -> None:
    played, devices, asked = answer(monkeypatch, gaining()), TwoDevices(), list[Any]()

    def open_devices(workers: int, ray: str, tell: Any) -> TwoDevices:
        asked.append((workers, ray))
        return devices

    monkeypatch.setattr(choose, "open_devices", open_devices)
    found = verify(kept, "--seeds", "4")
    assert [work.call for work in devices.works] == ["check", "check", *["heat"] * 4]
    assert {work.arguments.get("split") for work in devices.works} == {None, "test"}
    assert sorted(found["seed_numbers"]) == sorted(seed for seed, _ in played.seeds)
    assert found["gain"]["mean"] == pytest.approx(0.007)
    (row,) = as_json(kept, "verify", "--budget", "2x", "--seeds", "2")["transfers"]
    assert (row["gain"]["mean"], len(checked)) == (pytest.approx(0.007), 4)
    (keep,) = as_json(kept, "harvest", "--seeds", "2")["keeps"]
    assert keep["alone"]["mean"] == pytest.approx(0.007)
    assert sum(work.call == "heat" for work in devices.works) == 8 == len(played.seeds)
    assert devices.closed == 3 and set(asked) == {(2, "head:6379")}
    pairs = [e["found"]["pairs"] for e in events(kept) if "pairs" in e.get("found", {})]
    assert [len(one) for one in pairs] == [1, 1], "each heat when it is over"


def test_a_cluster_that_is_gone_opens_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_devices(workers: int, ray: str, tell: Any) -> TwoDevices:
        raise RayError(f"--ray {ray}: nobody is there")

    monkeypatch.setattr(choose, "open_devices", open_devices)
    for command in ("verify", "harvest"):
        failed(run_here(kept, command), "--ray head:6379: nobody is there; the campaign's last run")
    failed(run_here(kept, "verify", "--ray", "there"), "--ray there: nobody is there")
    assert not opened(kept)
