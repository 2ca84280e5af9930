"""One Ray node beside two, each bound to a processor of its own: verdicts an hour of a campaign.

The cluster is on this machine, started and stopped here. The campaign is a real one with the tuner,
one candidate a heat. Its trainings wait, so that the nodes do not take each other's time, or, of
the other reading, compute: what two nodes of one machine then lose is the machine's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from agent.campaign import events
from agent.campaign.files import JOURNAL
from agent.campaign.journal import read_events
from agent.edits.blocks import Edit
from agent.edits.constants import set_constants
from benchmarks.keep import make
from benchmarks.machine import ROOT

ASKED = 1.8
FULL = {"wait": (24, 15.0), "compute": (20, 3.0)}
"""Trials of each kind, and seconds of a training: those that wait are to be most of a heat."""
FEW, SHORT = 3, 2.0
SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}
ENVIRON = {
    "RAY_raylet_start_wait_time_s": "300",  # a busy machine takes long
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # as the campaign
}
TAG, LOOP = "nodes", "    while not session.done():\n"
SMALL_MODEL = {"BATCH_ROWS": 1, "MICRO_ROWS": 1, "WIDTH": 32, "HEAD_DIM": 32}
"""Of trainings that wait; by these names the preset would set others."""
KINDS = ("wait", "compute")


def start_of(kind: str) -> str:
    """The plain start; of trainings that wait with a small model, which is quick to score, a row a
    step, and a sleep before each.

    Only constants are left to be tried that change no cost: campaigns try different edits, of which
    one with a large vocabulary takes three times as long to score.
    """
    source = (ROOT / "examples" / "plain.py").read_text()
    source = re.sub(r"; (choice .*|range \S+ int)$", "", source, flags=re.MULTILINE)
    if kind == "compute":
        return source
    assert source.count(LOOP) == source.count("import math\n") == 1
    source = Edit("", "", "", set_constants(source, SMALL_MODEL)).apply(source)
    for name in SMALL_MODEL:
        source = source.replace(name, f"OWN_{name}")
    source = source.replace(LOOP, f"{LOOP}        time.sleep(0.5)\n")
    return source.replace("import math\n", "import math\nimport time\n")


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a cluster of so many nodes of one processor each."""
    import ray  # slow to import
    from ray.cluster_utils import Cluster

    own = sorted(os.sched_getaffinity(0))
    with mock.patch.dict(os.environ, ENVIRON):
        head = {**SMALL, "include_dashboard": False}
        made = _bound(own[0], lambda: Cluster(True, head_node_args=head))
        try:
            for number in range(1, nodes):
                _bound(own[number % len(own)], lambda: made.add_node(**SMALL))
            yield str(made.address)
        finally:
            ray.shutdown()
            made.shutdown()


def _bound(processor: int, start: Callable[[], Any]) -> Any:
    """What ``start`` starts, bound to a processor with all that it starts."""
    own = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {processor})
        return start()
    finally:
        os.sched_setaffinity(0, own)


def measured(kind: str, nodes: int, trials: int, budget: float) -> dict[str, Any]:
    """A campaign of so many trials, from its first heat to its last verdict.

    Raises:
        SystemExit: it failed; it has said why.
    """
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="autoresearch-nodes-")
        folder = Path(stack.enter_context(made))
        make(folder / "repo", constants={}, front_matter="nulls: 0\nheat: 1\n")
        (folder / "start.py").write_text(start_of(kind))
        address = stack.enter_context(cluster(nodes))
        command = [
            *(sys.executable, "-m", "agent", "run", "--tag", TAG, "--llm", "none"),
            *("--start", str(folder / "start.py"), "--proposer", "tuner", "--seed", "1"),
            *("--ray", address, "--budget", f"{budget:g}s", "--trials", str(trials)),
            *("--preset", "cpu"),
        ]
        environ: Mapping[str, str] = {**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)}
        repo = folder / "repo"
        done = subprocess.run(command, cwd=repo, env=environ, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}")
        happened = read_events(repo / "campaigns" / TAG / JOURNAL)
    began = next(event.time for event in happened if isinstance(event, events.HeatBegun))
    over = [event.time for event in happened if isinstance(event, events.Concluded)][1:]
    heats, hours = sum(isinstance(e, events.HeatOver) for e in happened), (over[-1] - began) / 3600
    return {
        "nodes": nodes,
        "budget_seconds": budget,
        "trials": trials,
        "heats": heats,
        "heats_an_hour": round(heats / hours, 1),
        "verdicts_an_hour": round(len(over) / hours, 1),
    }
