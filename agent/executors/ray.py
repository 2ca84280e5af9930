"""The nodes of a Ray cluster as workers: a heat with its scoring runs on one node, on its devices.

On each node one Ray actor for each of its devices, or one for all its processors, holds these
resources and has a worker, as ``workers`` has them here. Ray brings it the source of the packages
``agent`` and ``trainer``, never a checkout. Messages are those of a worker; weights come as bytes.
Only the campaign's process writes journal and git.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import agent
import trainer
from agent.executors.base import Work
from agent.executors.pool import RENEW_SECONDS, Link, Lost, Pool
from agent.executors.workers import Share, Worker, processors
from trainer.errors import UserError
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
SHUN_SECONDS = 30.0
"""For which a place that was lost is given nothing: Ray may not know of it yet."""
UNFIT_SECONDS = 600.0
_PACKAGES = ("torch", "numpy", "rustbpe", "tiktoken", "safetensors", "botocore")
"""By whose versions scores and data may differ."""


class RayError(UserError):
    """The cluster cannot be used; the message says why, and what to do."""


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

    def __init__(self, number: int, count: int, cores: int) -> None:
        """It is one of ``count`` on this node, and ``cores`` of the processors are its own."""
        self._held = contextlib.ExitStack()
        self._scratch = self._held.enter_context(scratch_folder())
        own = processors()
        # Where the node has fewer than the system shows, as in a container, nobody knows which.
        bound = own[number * cores : (number + 1) * cores] if len(own) <= cores * count else ()
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
        self.is_gone = False
        """Whether the actor has been lost, and not only its worker."""
        self._actor = actor
        self._scratch = self.isolation = ""
        self._out: list[dict[str, Any]] = []
        self._in: deque[dict[str, Any]] = deque()

    def about(self) -> dict[str, Any]:
        """As of ``Node``; waits until it has started."""
        found: dict[str, Any] = self._ask(START_SECONDS, "about")
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
        import ray

        try:
            return ray.get(getattr(self._actor, method).remote(*arguments), timeout=seconds)
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
        self._said: deque[str] = deque()
        _connect(address)
        self._look()
        self._tell(tell)
        if not self._links:
            self.close()
            raise RayError(
                f"--ray {address}: no node of the cluster can measure; see what was said of each, "
                "and: ray status"
            )
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        import ray

        self._over.set()
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
        """Look for nodes that come or go, also while all there are have works."""
        while not self._over.wait(RENEW_SECONDS):
            self._look()

    def _renew(self, on_event: OnEvent) -> None:
        self._tell(on_event)

    def _tell(self, on_event: OnEvent) -> None:
        with contextlib.suppress(IndexError):
            while True:
                on_event({"event": "note", "text": self._said.popleft()})

    def _look(self) -> None:
        """Start an actor in each place that has none; those that can measure are given works. Who
        is idle on a node that has gone is forgotten; others find out."""
        import ray

        begun: list[NodeLink] = []
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
                taken = {link.place for link in here}
                taken |= {place for place, until in self._shunned.items() if until > now}
            for node in nodes.values():
                begun += self._start(node, taken) if not self._closed else []
        for link in begun:
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
        """Why a node cannot measure, "" if it can; waits until its actor has started."""
        try:
            other = differing(versions(), link.about()["versions"])
        except Lost as lost:
            return f"{lost}: left out; are its processors free (ray status)?"
        return f"{link.name} has {other}: left out; install the same there" if other else ""

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
                made.remote(k, count, each),
                (node_id, k),
                f"node {node['NodeManagerAddress']}" + (f", worker {k + 1}" if count > 1 else ""),
            )
            for k in range(count)
            if (node_id, k) not in taken
        ]


def _connect(address: str) -> None:
    try:
        import ray
    except ImportError:
        raise RayError('--ray needs Ray: pip install -e ".[ray]", here and on each node') from None
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with tempfile.TemporaryDirectory() as shipped:  # as a working_dir: Ray adds none of its own
            for package in (agent, trainer):
                source = Path(str(package.__file__)).parent
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, Path(shipped, source.name), ignore=ignore)
            ray.init(
                address=address,
                runtime_env={"working_dir": shipped},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        # What Ray says of a lost node is forty lines on stdout, and there is no option for it.
        ray._private.worker._worker_logs_enabled = False
        signal.signal(signal.SIGTERM, on_term)  # Ray ends the process; a campaign ends in order
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RayError(
            f"--ray {address}: {one_line(error, 300)}; start a cluster (docs/cluster.md), or "
            "measure on this machine: --workers 1"
        ) from None
