"""The nodes of a Ray cluster as workers: a heat with its scoring runs on one node, on its devices.

On each node one Ray actor for each of its devices, or one for all its processors, holds these
resources and has a worker, as ``workers`` has them here. Ray brings it the source of the packages
``agent`` and ``trainer``, never a checkout. Messages are those of a worker; weights come as bytes.
Only the campaign's process writes journal and git.
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections import deque
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import agent
from agent.executors.base import Work
from agent.executors.cluster import RayError, connect
from agent.executors.pool import RENEW_SECONDS, Link, Lost, Pool
from agent.executors.workers import Share, Worker, processors
from trainer.errors import UserError
from trainer.measure import MACHINE
from trainer.presets import find_preset
from trainer.sandbox.confine import available
from trainer.training.job import OnEvent
from trainer.training.scratch import scratch_folder
from trainer.untrusted import one_line

WAIT_SECONDS, GATHER_SECONDS = 1.0, 0.2
"""How long a node waits for something to say, and then for more of it: each answer is a call."""
START_SECONDS = 120.0
"""For Ray to bring the source to a node and start the actor."""
ANSWER_SECONDS = 60.0
NOBODY = "nobody is left to measure; waiting for a node of the cluster"
SHUN_SECONDS = 30.0
"""For which a place that was lost is given nothing: Ray may not know of it yet."""
UNFIT_SECONDS = 600.0
_PACKAGES = ("torch", "numpy", "rustbpe", "tiktoken", "safetensors", "botocore")
"""By whose versions scores and data may differ."""


def versions() -> dict[str, str]:
    """Of Python and of the packages that a measurement depends on."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def differing(here: dict[str, str], there: dict[str, str]) -> str:
    """What another version is there, in words; "" if nothing is."""
    other = [name for name in here if there.get(name) != here[name]]
    told = (f"{name} {there.get(name, 'missing')} (here {here[name]})" for name in other)
    return ", ".join(told)


class Node:
    """What runs on a node, as an actor."""

    def __init__(self, number: int, count: int, cores: int, of_node: int) -> None:
        """It is one of ``count`` on this node; ``cores`` of the ``of_node`` processors are its
        own."""
        self._held = contextlib.ExitStack()
        self._scratch = self._held.enter_context(scratch_folder())
        own = processors()
        # Where the node has fewer than the system shows, as in a container, nobody knows which.
        bound = own[number * cores : (number + 1) * cores] if len(own) <= of_node else ()
        memory_mb = psutil.virtual_memory().available / 2**20 / count
        share = Share(tuple(bound), None if bound else cores, memory_mb=memory_mb)
        self._worker = Worker("the worker", share)

    def about(self) -> dict[str, Any]:
        """Versions, isolation, and where weights are kept until they are taken."""
        return {
            "versions": versions(),
            "isolation": available()[0],
            "scratch": str(self._scratch),
            "source": str(Path(str(agent.__file__)).parents[1]),
        }

    def exchange(self, messages: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
        """Pass messages on, and return what the worker says; ``lost`` if it has ended."""
        found: list[dict[str, Any]] = []
        try:
            if any("work" in message for message in messages):
                self._worker.start()
            for message in messages:
                self._worker.send(message)
            said = self._worker.receive(seconds)
            until = time.monotonic() + GATHER_SECONDS
            while said is not None:
                found.append(said)
                if "event" not in said:
                    break
                said = self._worker.receive(max(0.0, until - time.monotonic()))
        except Lost as lost:
            return [*found, {"lost": str(lost)}]
        return found

    def reset(self) -> None:
        """End the worker; the next work starts another."""
        self._worker.close()

    def give(self, weights: bytes) -> str:
        """Keep weights to be audited; returns where."""
        path = self._scratch / "audited"
        path.write_bytes(weights)
        return str(path)

    def take(self, name: str, most: int) -> bytes | None:
        """Weights that were kept, which are then removed; None if there are none."""
        path = self._scratch / name
        if not path.exists():
            return None
        if path.stat().st_size > most:
            raise ValueError(f"weights of {path.stat().st_size} bytes, of at most {most}")
        weights = path.read_bytes()
        path.unlink()
        return weights


class NodeLink(Link):
    """A conversation with the worker of one actor."""

    def __init__(self, actor: Any, place: tuple[str, int], name: str) -> None:
        """``place``: the node's id, and which of its workers it is."""
        super().__init__()
        self.place, self.name = place, name
        self.answer = actor.about.remote()
        """As of ``Node.about``, once it has started; for that it has ``until``."""
        self.until = time.monotonic() + START_SECONDS
        self._actor = actor
        self._scratch = self.isolation = ""
        self._out: list[dict[str, Any]] = []
        self._in: deque[dict[str, Any]] = deque()

    def about(self) -> dict[str, Any]:
        """As of ``Node``, if that is here by now."""
        found: dict[str, Any] = self._get(self.answer, WAIT_SECONDS)
        self._scratch, self.isolation = found["scratch"], found["isolation"]
        return found

    def start(self) -> None:
        self._out.clear()
        self._in.clear()

    def send(self, message: dict[str, Any]) -> None:
        self._out.append(message)  # it goes with the next question

    def receive(self, seconds: float) -> dict[str, Any] | None:
        if not self._in:
            out, self._out = self._out, []
            self._in.extend(self._ask(ANSWER_SECONDS, "exchange", out, WAIT_SECONDS))
        if not self._in:
            return None
        message = self._in.popleft()
        if "lost" in message:
            raise Lost(f"{self.name}: {message['lost']}")
        return message

    def reset(self) -> None:
        self.known.clear()
        with contextlib.suppress(Lost):
            self._ask(ANSWER_SECONDS, "reset")

    def close(self) -> None:
        """End the actor, and with it its worker."""
        import ray

        with contextlib.suppress(Exception):  # it is gone, or the cluster is
            ray.kill(self._actor)

    def ship(self, work: Work) -> dict[str, Any]:
        names = [path and f"{self._scratch}/{k}" for k, path in enumerate(work.weights_to)]
        given = None
        if work.weights is not None:
            given = self._ask(ANSWER_SECONDS, "give", work.weights.read_bytes())
        return {**super().ship(work), "weights_to": names, "weights": given}

    def bring(self, work: Work) -> None:
        most = find_preset(str(work.arguments.get("preset", "auto"))).weights_bytes
        for k, path in enumerate(work.weights_to):
            if path is not None:
                weights = self._ask(ANSWER_SECONDS, "take", str(k), most)
                if weights is not None:
                    _save(weights, path)

    def _ask(self, seconds: float, method: str, *arguments: Any) -> Any:
        return self._get(getattr(self._actor, method).remote(*arguments), seconds)

    def _get(self, answer: Any, seconds: float) -> Any:
        import ray

        try:
            return ray.get(answer, timeout=seconds)
        except ray.exceptions.RayError as error:
            self.is_gone = True
            raise Lost(f"{self.name} is gone ({one_line(error, 200)})") from None


def _save(weights: bytes, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    try:
        unfinished.write_bytes(weights)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(
            f"the weights {path} could not be written: {error.strerror or error}; free space or "
            "make the folder writable, then run again"
        ) from error


class Nodes(Pool):
    """An executor over the nodes of a cluster, as they come and go."""

    def __init__(self, address: str, tell: OnEvent, on_each: int = 1) -> None:
        """
        Args:
            address: of the cluster; ``auto`` is the one that this machine belongs to.
            tell: is told of nodes, as ``note``.
            on_each: how many workers share the processors of a node that has no device.

        Raises:
            RayError: there is no such cluster, or nothing can be measured on it.
        """
        super().__init__([])
        self._on_each = on_each
        self._over = threading.Event()
        self._shunned: dict[tuple[str, int], float] = {}
        """Until when a place is given nothing."""
        self._others: set[str] = set()
        """Nodes with another kind of device."""
        self._said: list[str] = []
        self._tell = tell
        self._asked: list[NodeLink] = []
        """Places that have not answered yet whether they can measure."""
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        connect(address)
        until = time.monotonic() + START_SECONDS
        self._look(RENEW_SECONDS)
        while self._asked and time.monotonic() < until + RENEW_SECONDS:
            self._say()
            self._look(RENEW_SECONDS)
        self._say()
        if not self._links:
            self.close()
            raise RayError(
                f"--ray {address}: no node of the cluster can measure; see what was said of each, "
                "and: ray status"
            )
        self._watcher.start()

    def close(self) -> None:
        import ray

        self._over.set()
        if self._watcher.is_alive():  # a call of Ray after its end would begin a cluster
            self._watcher.join(ANSWER_SECONDS)
        super().close()
        ray.shutdown()

    def _put_back(self, link: Link) -> None:
        assert isinstance(link, NodeLink)
        if not link.is_gone:
            return super()._put_back(link)
        with self._change:
            self._links.remove(link)
            self._shunned[link.place] = time.monotonic() + SHUN_SECONDS
        link.close()

    def _watch(self) -> None:
        """Look for nodes that come or go, also while all there are have works, or nobody asks."""
        was_somebody = True
        while not self._over.wait(RENEW_SECONDS):
            self._look()
            self._say(*([NOBODY] if was_somebody and not self._links else []))
            was_somebody = bool(self._links)

    def _say(self, *more: str) -> None:
        """Tell what has been seen, and ``more``."""
        for text in (*self._said, *more):
            self._tell({"event": "note", "text": text})
        self._said.clear()

    def _look(self, seconds: float = 0.0) -> None:
        """Start an actor in each place that has none, and hear for so long what they answer: those
        that can measure are given works. Who is idle on a node that has gone is forgotten; others
        find out."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # the run, or the cluster, has ended
            nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
            with self._change:
                here = [link for link in self._links if isinstance(link, NodeLink)]
                for link in here:
                    if link in self._idle and link.place[0] not in nodes:
                        self._links.remove(link)
                        self._idle.remove(link)
                        self._said.append(f"{link.name} is gone")
                now = time.monotonic()
                taken = {link.place for link in (*here, *self._asked)}
                taken |= {place for place, until in self._shunned.items() if until > now}
            alike = [node for node in nodes.values() if not self._is_other(node)]
            begun = [link for node in alike for link in self._start(node, taken)]
            self._asked += begun
            if begun:
                self._say(f"asking {len(begun)} place{'s' * (len(begun) > 1)} of the cluster")
            self._hear(seconds)

    def _hear(self, seconds: float) -> None:
        """Take in who answers within that, and leave out who has not for too long."""
        import ray

        if not self._asked:
            return
        answers = [link.answer for link in self._asked]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=seconds)
        now = time.monotonic()
        heard = [link for link in self._asked if link.answer in ready or now > link.until]
        self._asked = [link for link in self._asked if link not in heard]
        for link in heard:
            why = self._unfit(link)
            self._said.append(why or f"{link.name} measures, isolation {link.isolation}")
            with self._change:
                if not why and not self._closed:
                    self._links.append(link)
                    self._idle.append(link)
                    self._change.notify()
                    continue
                # What is installed there rarely changes, and each look costs seconds.
                self._shunned[link.place] = time.monotonic() + UNFIT_SECONDS
            link.close()

    def _unfit(self, link: NodeLink) -> str:
        """Why a node cannot measure, "" if it can."""
        try:
            other = differing(versions(), link.about()["versions"])
        except Lost as lost:
            return f"{lost}: left out; are its processors free (ray status)?"
        return f"{link.name} has {other}: left out; install the same there" if other else ""

    def _is_other(self, node: dict[str, Any]) -> bool:
        """Whether a node has a GPU where this machine, by whose device the preset was chosen, has
        none, or the other way round: their scores cannot be compared. It is said once."""
        has = node.get("Resources", {}).get("GPU", 0) >= 1
        if has == (MACHINE.probe()["device"] == "cuda"):
            return False
        if node["NodeID"] not in self._others:
            self._others.add(node["NodeID"])
            words = (
                "a GPU, and this machine has none" if has else "no GPU, and this machine has one"
            )
            self._said.append(
                f"node {node['NodeManagerAddress']} has {words}: left out; start the campaign on a "
                "machine with a device like the nodes'"
            )
        return True

    def _start(self, node: dict[str, Any], taken: set[tuple[str, int]]) -> list[NodeLink]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        resources, node_id = node["Resources"], node["NodeID"]
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        count = gpus or min(self._on_each, cores)
        each = cores // count if count else 0
        made = ray.remote(Node).options(
            num_cpus=each,
            num_gpus=1 if gpus else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        return [
            NodeLink(
                made.remote(k, count, each, cores),
                (node_id, k),
                f"node {node['NodeManagerAddress']}" + (f", worker {k + 1}" if count > 1 else ""),
            )
            for k in range(count)
            if (node_id, k) not in taken
        ]
