"""The trusted side's client of the fork server: starts it, requests children, records their ends.

The standard library's fork server is not used: it listens on a socket that a confined child can
reach, and it passes on the parent's environment. Our ``server`` is exec'd with an allow-listed
environment and communicates over one inherited socketpair. Only one training or one scoring runs at
a time. So all processes below the server, except the scorer, belong to that run, and ``kill`` kills
all of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trainer.sandbox import cgroup, confine, owner, tree
from trainer.sandbox.wire import Channel, Gone, Silent, WireError

_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "OPENBLAS_CORETYPE",
)
_ALLOCATORS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Settings of torch's device allocator; the second is the name that older versions know."""


def environment() -> dict[str, str]:
    """The environment of the server, and so of every child: no keys, nothing personal."""
    kept = {n: os.environ[n] for n in (*_ENVIRONMENT, *_ALLOCATORS) if n in os.environ}
    if not any(name in kept for name in _ALLOCATORS):
        # Blocks that grow do not leave gaps, which can run a device out of memory that is free.
        kept["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
    return {
        **kept,
        # A worker for every core of a large machine would be more processes than are allowed.
        "TORCHINDUCTOR_COMPILE_THREADS": str(min(_cores(), tree.COMPILE_WORKERS)),
        "PYTHONPATH": os.pathsep.join(_import_path()),
        # A computation can depend on the order of a set of strings, and it must be reproducible.
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # What is still in a buffer is lost when a child is killed.
        "PYTHONUNBUFFERED": "1",
        # A thread pool started by an import would be lost in the fork.
        "OPENBLAS_NUM_THREADS": "1",
        # OpenMP threads spin while they wait: on a busy machine, ten times the computation itself.
        "GOMP_SPINCOUNT": "1000",
        # Tensors of a step are as large as those of the step before: the kernel has to clear memory
        # again that was returned to it between the steps.
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "2000000000",
        # A precompiled header of torch takes 130 MB of scratch; only many kernels make it worth it.
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "HOME": "/nonexistent",
        owner.VARIABLE: str(owner.this_process()),
    }


def _import_path() -> list[str]:
    """This project first, then where the user's own PYTHONPATH has packages: nono_py, or torch."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [str(Path(__file__).resolve().parents[2]), *map(os.path.abspath, given)]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Exit:
    """How a child ended."""

    code: int
    """Exit status, or minus the number of the signal."""
    peak_memory_mb: float
    """Largest resident size of the child, as the kernel reports it."""


class ServerDied(Exception):
    """The fork server is gone, or given up; start another."""


class ServerGaveUp(ServerDied):
    """It has ended by itself, because below it a process cannot be killed."""


class ForkServer:
    """Starts the server, requests children from it, and records how they end."""

    def __init__(self, program: str, method: str = "auto") -> None:
        """``program``: the module that the server runs; it imports the code of the children."""
        if method == "auto":  # forking after Objective-C frameworks are loaded is unsafe
            method = "spawn" if sys.platform == "darwin" else "fork"
        self.cgroup = cgroup.create()
        """Holds the children that run candidate code."""
        self._channel, theirs = Channel.pair()
        command = [sys.executable, "-P", "-m", program]
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), method, *map(str, self.cgroup.folders)],
                pass_fds=[theirs.fileno()],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # The parent handles Ctrl-C in the terminal.
                start_new_session=True,
            )
        self.exits: dict[int, Exit] = {}
        self._ids = 0
        self._pid = 0
        self._given_up = False

    @property
    def pid(self) -> int:
        """Process id of the server itself; the processes that it starts are its descendants."""
        while not self._pid:
            self._note(self._receive(60.0))
        return self._pid

    def alive(self) -> bool:
        if self._given_up or self.process.poll() is not None:
            return False
        return not self._pid or psutil.pid_exists(self._pid)

    def spawn(self, role: str, fds: list[int], timeout: float = 120.0) -> int:
        """Start a child with ``fds``: its control socket, then the descriptor for its output.

        Returns its pid. The descriptors stay open on this side.
        """
        self.exits.clear()  # the kernel reuses process ids
        return int(self._ask({"op": "spawn", "role": role}, fds, timeout)["pid"])

    def connect(self) -> socket.socket:
        """A second connection to the server, over which the scorer starts eval children."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.ExitStack() as stack:
            stack.enter_context(ours)
            with theirs:
                self._ask({"op": "connect"}, [theirs.fileno()], 60.0)
            stack.pop_all()
        return ours

    def kill(self) -> int:
        """Kill all untrusted processes below the server; returns how many there were."""
        return int(self._ask({"op": "kill"}, [], 60.0)["killed"])

    def kill_all(self) -> None:
        """Kill all processes below the server, the scorer too."""
        self._ask({"op": "kill", "all": True}, [], 60.0)

    def limit(self, memory_mb: int, scratch_mb: int) -> None:
        """Limit the memory and disk that all untrusted processes below the server take together."""
        self.cgroup.limit(memory_mb)
        self._memory_mb, self._killed_before = memory_mb, self.cgroup.out_of_memory()
        self._scratch_mb = scratch_mb

    def excess(self, scratch: Path | None = None) -> tuple[str, str] | None:
        """Status and reason if all processes together exceed their limits, otherwise None.

        The limits of single processes do not bound these totals. Before it, call ``limit``.

        Args:
            scratch: a folder whose size is limited too.
        """
        used = tree.usage(self.pid, self._memory_mb)
        if used.processes > tree.MAX_PROCESSES:
            return "invalid", f"processes: more than {tree.MAX_PROCESSES}"
        killed = self.cgroup.out_of_memory() > self._killed_before
        if used.memory_mb > self._memory_mb or killed:
            return "oom", f"memory: more than {self._memory_mb} MB in all processes"
        named_mb = 0.0 if scratch is None else confine.disk_mb(scratch)
        if named_mb + used.unlinked_mb > self._scratch_mb:
            most = f"{self._scratch_mb} MB or {confine.MAX_SCRATCH_FILES} files"
            return "invalid", f"disk: more than {most} of scratch, or too deep to look into"
        return None

    def poll(self) -> None:
        """Record the children that have ended so far."""
        with contextlib.suppress(Silent):
            while True:
                self._note(self._receive(0.0))

    def close(self) -> None:
        """End the server and all processes below it; another thread may wait for its answer."""
        self._channel.hang_up()
        try:
            self.process.wait(timeout=tree.KILL_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._channel.close()
        self.cgroup.remove()

    def _ask(self, request: dict[str, Any], fds: list[int], timeout: float) -> dict[str, Any]:
        self._ids += 1
        try:
            self._channel.send({**request, "id": self._ids}, fds, timeout)
            while True:
                answer = self._receive(timeout)
                if answer.get("id") == self._ids:
                    return answer
                self._note(answer)
        except Gone:
            self.poll()  # raises, with what the server said last
            raise self._died("the fork server is gone") from None
        except WireError as error:
            raise self._died(f"the fork server does not answer: {error}") from None

    def _receive(self, timeout: float) -> dict[str, Any]:
        try:
            return self._channel.receive(timeout)
        except (Gone, OSError) as error:
            raise self._died(f"the fork server is gone: {error}") from None

    def _died(self, why: str) -> ServerDied:
        self._given_up = True
        return ServerDied(why)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("event") == "unkillable":
            self._given_up = True
            raise ServerGaveUp(message["reason"])
        if message.get("event") == "up":
            self._pid = message["pid"]
        if message.get("event") == "exit":
            self.exits[message["pid"]] = Exit(message["code"], message["peak_memory_mb"])
