"""How a machine is shared out among workers, and how many it can have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.executors import workers
from agent.executors.workers import WorkersError, possible, shares


def machine(
    monkeypatch: pytest.MonkeyPatch, own: list[int], probe: Mapping[str, Any], visible: str = ""
) -> None:
    monkeypatch.setattr(workers, "processors", lambda: own)
    monkeypatch.setattr(workers.MACHINE, "probe", lambda: probe)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("own", "probe", "visible", "count", "bound", "devices"),
    [
        ([0, 1], {"device": "cpu"}, "", 2, [(0,), (1,)], [None, None]),
        ([4, 5, 6], {"device": "cpu"}, "", 2, [(4,), (5,)], [None, None]),
        ([0, 8, 1, 9], {"device": "cpu"}, "", 2, [(0, 8), (1, 9)], [None, None]),
        ([0, 1], {"device": "cuda", "devices": 2}, "", 2, [(0,), (1,)], ["0", "1"]),
        ([0, 1], {"device": "cuda", "devices": 2}, "3,GPU-a", 2, [(0,), (1,)], ["3", "GPU-a"]),
        ([0], {"device": "cuda", "devices": 2}, "", 2, [(), ()], ["0", "1"]),
        ([], {"device": "mps"}, "", 1, [()], [None]),
    ],
)  # fmt: skip
def test_shares_are_equal_and_apart(
    monkeypatch: pytest.MonkeyPatch, own: Any, probe: Any, visible: str, count: int,
    bound: list[Any], devices: list[Any],
) -> None:  # fmt: skip
    machine(monkeypatch, own, probe, visible)
    found = shares(count)
    assert [share.processors for share in found] == bound
    assert [share.device for share in found] == devices
    assert len({share.memory_mb for share in found}) == 1 and found[0].memory_mb > 0


@pytest.mark.parametrize(
    ("own", "probe", "most", "why"),
    [
        ([0, 1], {"device": "cpu"}, 2, "one for each of 2 processors"),
        ([], {"device": "cpu"}, 1, "does not bind"),
        ([0, 1, 2, 3], {"device": "cuda", "devices": 2}, 2, "one for each of 2 devices"),
        ([0, 1, 2, 3], {"device": "mps"}, 1, "it has one device"),
    ],
)
def test_more_than_there_can_be_are_refused(
    monkeypatch: pytest.MonkeyPatch, own: Any, probe: Any, most: int, why: str
) -> None:
    machine(monkeypatch, own, probe)
    assert possible()[0] == most and why in possible()[1]
    with pytest.raises(WorkersError, match=f"--workers {most + 1}: .* at most {most}: .*{why}"):
        shares(most + 1)


def test_the_threads_of_a_core_stand_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else two workers would share each core."""
    for processor, (socket, core) in enumerate([(0, 0), (0, 1), (1, 0), (0, 0), (0, 1), (1, 0)]):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{socket}\n")
        (folder / "core_id").write_text(f"{core}\n")
    monkeypatch.setattr(workers, "_TOPOLOGY", f"{tmp_path}/cpu{{}}/topology/{{}}")
    monkeypatch.setattr(workers.sys, "platform", "linux")
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: set(range(6)))
    assert workers.processors() == [0, 3, 1, 4, 2, 5]
