"""A campaign on two Ray nodes, of which one is killed while it measures: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import project
import psutil
import pytest

from benchmarks import kills_campaign, kills_compare

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]
TRIALS = 2


def measures(node: Any) -> bool:
    """Whether a training, a scoring or an audit runs there: its server has a child."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    roles = 0
    for one in raylet.children(recursive=True):
        try:
            roles += "trainer.roles" in one.cmdline()
        except psutil.NoSuchProcess:
            continue
    return roles > 2  # the server and its supervisor


def events(site: kills_campaign.Site) -> list[dict[str, Any]]:
    path = site.campaign / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_a_campaign_goes_on_without_a_node(
    cluster: Any,
    add_node: Callable[[], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = kills_campaign.PROGRAM.replace("sequential: true\n", "")
    monkeypatch.setattr(kills_campaign, "PROGRAM", program)
    site = kills_campaign.make(tmp_path / "site", tmp_path / "shared", TRIALS)
    lost = add_node()
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", *site.command, "--ray", cluster.address],
        cwd=site.repo,
        env=site.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def both_are_at_work() -> bool:
        begun = Counter(event["event"] for event in events(site))
        return begun["heat_started"] > begun["heat"] and measures(lost)

    monkeypatch.setattr(project, "PATIENCE_SECONDS", 600)
    project.wait_until(both_are_at_work, process)
    cluster.remove_node(lost, allow_graceful=False)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "done again" in output
    assert "raylet" not in output
    found = Counter(event["event"] for event in events(site))
    assert found["heat_started"] == found["heat"] and found["trial"] == found["verdict"]
    assert found["verdict"] > TRIALS
    assert not kills_compare.left(site)
    assert not psutil.wait_procs(kills_campaign.processes(site), timeout=60)[1]
