"""A Ray cluster of two nodes on this machine, a processor each; one is lost in a heat."""

from __future__ import annotations

import operator
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.executors import ray as executor
from agent.executors.base import Work
from agent.executors.ray import NodeLink, Nodes, RayError
from trainer.measure import MACHINE

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]
HOW = {"budget": "20000tok", "preset": "cpu", "seed": 1}


def events_of(seen: list[str], at: dict[str, Any]) -> Any:
    """Notes go to ``seen``; at the first event of a kind in ``at`` it is called."""

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "note":
            seen.append(event["text"])
        elif do := at.pop(event["event"], None):
            do()

    return tell


def until_there_are(slots: int, nodes: Nodes) -> None:
    deadline = time.monotonic() + 300
    while nodes.slots != slots:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow  # a campaign that loses a node is a usual test
def test_a_heat_of_a_lost_node_is_done_again(
    cluster: Any,
    add_node: Callable[[], Any],
    tiny_source: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    on_term = signal.getsignal(signal.SIGTERM)
    nodes = Nodes(cluster.address, events_of(said, {}))
    assert nodes.slots == 1
    assert signal.getsignal(signal.SIGTERM) is on_term  # Ray's own would end a campaign at once
    lost = add_node()
    until_there_are(2, nodes)  # nothing is measured, and it is found all the same
    assert said[0] == "asking 1 place of the cluster"
    assert len([line for line in said if "measures, isolation" in line]) == 2, said
    for link in nodes._links:
        assert isinstance(link, NodeLink)
        assert "working_dir_files" in link.about()["source"]  # what was shipped, no checkout
    both = threading.Barrier(2, lambda: cluster.remove_node(lost, allow_graceful=False))

    def heat_of(number: int) -> list[Any]:
        to = (None, tmp_path / f"weights{number}")
        work = Work("heat", (tiny_source, tiny_source + "\n"), HOW, to)
        tell = events_of(said, {"log": both.wait})
        return nodes.run(work, on_event=tell, cancel=threading.Event())  # type: ignore[no-any-return]

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(heat_of, range(2)))
    for number, (champion, candidate) in enumerate(found):
        assert (champion.status, candidate.status) == ("ok", "ok")
        assert champion.fingerprint["threads"] == 1
        assert champion.isolation in ("os", "process")
        assert champion.val_bpb == found[0][0].val_bpb
        assert (tmp_path / f"weights{number}").stat().st_size > 0
    # Its worker may end before it does, and is then what is said to have ended.
    assert any("its heat is done again" in line for line in said), said
    until_there_are(1, nodes)

    how = {"preset": "cpu", "claimed_bpb": found[0][1].val_bpb, "train_seconds": 0.1}
    audit = Work("audit", (tiny_source,), how, weights=tmp_path / "weights0")
    audited = nodes.run(audit, on_event=events_of(said, {}), cancel=threading.Event())
    assert audited.ok

    import ray

    (left,) = nodes._links
    worker = ray.get(left._actor.__ray_call__.remote(operator.attrgetter("_worker.pid")))
    heat = Work("heat", (tiny_source,), HOW)
    tell = events_of(said, {"log": partial(os.kill, worker, signal.SIGKILL)})
    (measured,) = nodes.run(heat, on_event=tell, cancel=threading.Event())
    assert measured.status == "ok"
    assert said[-1].endswith("the worker was killed (signal 9): its heat is done again")
    assert nodes.slots == 1  # the actor is the same
    nodes.close()
    assert "raylet" not in "".join(capfd.readouterr())  # --json has stdout for itself


class Cluster:
    """Ray with nodes that are names; their places answer at once, but for those in ``slow``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *alive: str) -> None:
        self.alive, self.slow, self.asked = list(alive), set[str](), list[list[str]]()
        ray = SimpleNamespace(
            nodes=lambda: [self._node(name) for name in self.alive],
            exceptions=SimpleNamespace(RayError=OSError),
            shutdown=lambda: None,
            kill=lambda actor: None,
            wait=self._wait,
            get=self._get,
        )
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(executor, "connect", lambda address: None)
        monkeypatch.setattr(executor, "RENEW_SECONDS", 0.01)
        monkeypatch.setattr(Nodes, "_start", self._start)

    @staticmethod
    def _node(name: str) -> dict[str, Any]:
        resources = {"CPU": 8.0, **({"GPU": 1.0} if "GPU" in name else {})}
        told = {"NodeID": name, "NodeManagerAddress": name, "Resources": resources}
        return {"Alive": True, **told}

    def _wait(
        self, answers: list[str], num_returns: int, timeout: float
    ) -> tuple[list[str], list[str]]:
        self.asked.append(list(answers))
        return [one for one in answers if one not in self.slow], []

    def _get(self, answer: str, timeout: float) -> dict[str, Any]:
        if answer in self.slow:
            raise OSError("timed out")
        return {"versions": executor.versions(), "isolation": "os", "scratch": "/nowhere"}

    @staticmethod
    def _start(of: Nodes, node: dict[str, Any], taken: set[tuple[str, int]]) -> list[NodeLink]:
        name = node["NodeID"]
        actor = SimpleNamespace(about=SimpleNamespace(remote=lambda: name))
        return [] if (name, 0) in taken else [NodeLink(actor, (name, 0), name)]


def until_said(what: str, said: list[str]) -> None:
    deadline = time.monotonic() + 60
    while what not in said:
        assert time.monotonic() < deadline, said
        time.sleep(0.01)


def test_nodes_come_and_go_while_nothing_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told by itself, also that none is left, once."""
    cluster, said = Cluster(monkeypatch, "first"), list[str]()
    nodes = Nodes("auto", events_of(said, {}))
    assert nodes.slots == 1
    cluster.alive.append("second")
    until_said("second measures, isolation os", said)
    assert nodes.slots == 2
    cluster.alive.remove("first")
    until_said("first is gone", said)
    assert nodes._idle == nodes._links
    cluster.alive.remove("second")
    until_said(executor.NOBODY, said)
    cluster.alive.append("third")
    until_said("third measures, isolation os", said)
    nodes.close()
    assert nodes.slots == 1
    assert said == [
        "asking 1 place of the cluster",
        "first measures, isolation os",
        "asking 1 place of the cluster",
        "second measures, isolation os",
        "first is gone",
        "second is gone",
        executor.NOBODY,
        "asking 1 place of the cluster",
        "third measures, isolation os",
    ]


@pytest.mark.parametrize(("device", "fits"), [("cpu", "plain"), ("cuda", "of a GPU")])
def test_a_node_with_another_kind_of_device_is_left_out_and_told_once(
    monkeypatch: pytest.MonkeyPatch, device: str, fits: str
) -> None:
    """A score from there would end the campaign."""
    cluster, said = Cluster(monkeypatch, "plain", "of a GPU"), list[str]()
    monkeypatch.setattr(MACHINE, "_probe", {"device": device})
    nodes = Nodes("auto", events_of(said, {}))
    assert nodes.slots == 1
    cluster.alive.append(f"{fits}, too")
    until_said(f"{fits}, too measures, isolation os", said)
    nodes.close()
    (told,) = [line for line in said if "left out" in line]
    other = "of a GPU has a GPU, and this machine has none"
    assert told.startswith(f"node {other}" if device == "cpu" else "node plain has no GPU, and")


def test_all_places_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing is left out after a time, for all of them."""
    cluster, said = Cluster(monkeypatch, "first", "mute", "last"), list[str]()
    cluster.slow.add("mute")
    monkeypatch.setattr(executor, "START_SECONDS", 0.02)
    nodes = Nodes("auto", events_of(said, {}))
    assert cluster.asked[0] == ["first", "mute", "last"]
    assert nodes.slots == 2 and said[0] == "asking 3 places of the cluster"
    until_said("mute is gone (timed out): left out; are its processors free (ray status)?", said)
    nodes.close()


def test_a_slow_new_node_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, said = Cluster(monkeypatch, "first"), list[str]()
    nodes = Nodes("auto", events_of(said, {}))
    cluster.slow.add("slow")
    cluster.alive += ["slow", "quick"]
    until_said("quick measures, isolation os", said)
    cluster.slow.clear()
    until_said("slow measures, isolation os", said)
    nodes.close()


@pytest.mark.parametrize("given", ["{}", "ray://{}", "auto"])
def test_an_address_where_nothing_answers_is_one_line_at_once(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())  # it is not asked: it would wait
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    given = given.format(address)
    with pytest.raises(RayError) as raised:
        Nodes(given, lambda event: None)
    assert str(raised.value) == (
        f"--ray {given}: nothing answers at {address} (Connection refused); start a cluster "
        "(docs/cluster.md), or measure on this machine: --workers 1"
    )


def test_a_missing_install_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayError, match=r"pip install -e .*\[ray\].*, here and on each node"):
        Nodes("auto", lambda event: None)


def test_other_versions_are_named() -> None:
    here = {"Python": "3.11", "torch": "2.13.0", "numpy": "2.4"}
    assert executor.differing(here, dict(here)) == ""
    there = {"Python": "3.12", "numpy": "2.4"}
    told = "Python 3.12 (here 3.11), torch missing (here 2.13.0)"
    assert executor.differing(here, there) == told
