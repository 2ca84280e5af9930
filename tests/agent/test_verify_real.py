"""``verify`` as typed, with real trainings: after a kill, in a clone, at another setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept_edits import GAIN, TINY, keep_edits
from project import agent, as_json, clone, events, git, start, wait_until

from agent.campaign.notes import FETCH

pytestmark = pytest.mark.process
SEEDS = ("--seeds", "2")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that kept two larger rates; the last one is no better on any text."""
    folder = clone(tmp_path_factory.mktemp("kept"))
    rates = (0.01, 0.1, 0.1000001)
    sources = [TINY.replace("RATE = 0.01", f"RATE = {rate}") for rate in rates]
    keep_edits(folder, sources, budget="8000tok", nulls=2).close()
    return folder


def opened(folder: Path) -> int:
    return sum(event["event"] == "opened" for event in events(folder))


@pytest.mark.slow
def test_a_kill_after_the_opening_counts_and_so_does_a_clone(kept: Path, tmp_path: Path) -> None:
    process = start(kept, "verify", *SEEDS)
    wait_until(lambda: opened(kept) == 1, process)
    process.kill()
    process.communicate()
    found = as_json(kept, "verify", *SEEDS, "--each")
    assert found["opened"] == opened(kept) == 2 and found["seeds"] == 2
    assert found["openings"] == ["verify --seeds 2", "verify --seeds 2 --each"]
    assert not found["opened_at_least"]
    first, second = (one["gain"] for one in found["each"])
    assert first["mean"] > 0.01 and abs(second["mean"]) < 0.001
    assert found["baseline"]["mean"] - found["champion"]["mean"] == pytest.approx(
        found["gain"]["mean"]
    )
    assert found["by_documents"]["mean"] == pytest.approx(found["gain"]["mean"])
    assert found["by_documents"]["documents"] >= len(found["groups"]) > 1
    assert found["claimed_gain"]["mean"] == pytest.approx(2 * GAIN)
    assert "opened 2 times" in agent(kept, "status").stdout
    in_a_clone(kept, tmp_path / "clone", found)


def in_a_clone(kept: Path, folder: Path, original: dict[str, Any]) -> None:
    git(kept.parent, "clone", "-q", str(kept), str(folder))
    fetched = [part.strip("'") for part in FETCH.split()[3:]]
    git(folder, "fetch", "-q", "origin", *fetched)
    found = as_json(folder, "verify", *SEEDS)
    assert found["opened"] == 3 and found["opened_at_least"]
    assert found["openings"] == [*original["openings"], "verify --seeds 2 (in a clone)"]
    for name in ("claimed_gain", "nulls", "nulls_kept", "tag"):
        assert found[name] == original[name]
    assert found["gain"]["mean"] == pytest.approx(original["gain"]["mean"], abs=0.3)
    assert not (folder / "campaigns/t").exists() and git(folder, "status", "--porcelain") == ""
    ref = "refs/notes/autoresearch-openings/t"
    lines = git(folder, "notes", f"--ref={ref}", "show", "origin/autoresearch/t~2").splitlines()
    assert [json.loads(line)["clone"] for line in lines] == [False, False, True]
    told = agent(folder, "verify", "--budget", "2x", "--scale", "RATE=0.5x", *SEEDS).stdout
    assert "transfers: trial 1" in told and "opened at least 3 times" in told
    assert "at budget 2x, RATE 0.5x" in told
