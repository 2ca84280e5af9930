"""The trusted side's handle on the fork server: start it, ask it for children, hear of their ends.

The server (``server``) is ours and not the standard library's, because that one listens on a socket
that a confined child can reach and hands the parent's environment on. This one is exec'd with an
allow-listed environment and talks over one inherited socketpair. One training or one scoring is
under way at a time, so everything below the server but the scorer belongs to it, and ``kill``
empties the tree.
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

from trainer.sandbox import cgroup
from trainer.sandbox.wire import Channel, Gone, Silent, WireError

_PROGRAM = (sys.executable, "-P", "-m", "trainer.roles")
"""What the server runs: it imports what runs in the children, so nothing here may import it."""
_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "OPENBLAS_CORETYPE",
)


def environment() -> dict[str, str]:
    """What the server, and so every child, has of the environment: no keys, nothing personal."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        # Orders of sets of strings are part of a computation that has to come out the same again.
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # What is still in a buffer is lost when a child is killed.
        "PYTHONUNBUFFERED": "1",
        # A thread pool started by an import would be lost in the fork.
        "OPENBLAS_NUM_THREADS": "1",
        # OpenMP's threads wait by spinning: on a busy machine, ten times the computation itself.
        "GOMP_SPINCOUNT": "1000",
        # Tensors of a step are as large as those of the last: memory that is given back to the
        # system between them has to be cleared again.
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "2000000000",
        # A precompiled header of torch takes 130 MB of scratch and pays for many kernels only.
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "HOME": "/nonexistent",
    }


@dataclass(frozen=True)
class Exit:
    """How a child ended."""

    code: int
    """Exit status, or minus the number of the signal."""
    peak_memory_mb: float
    """Largest resident size of the child, by the kernel's account."""


class ServerDied(Exception):
    """The fork server is gone; start another."""


class ForkServer:
    """The trusted side's handle: starts the server, asks it for children, hears of their ends."""

    def __init__(self, method: str = "auto") -> None:
        if method == "auto":  # forking after Objective-C frameworks are loaded is unsafe
            method = "spawn" if sys.platform == "darwin" else "fork"
        self.cgroup = cgroup.create()
        """Holds the children that run candidate code."""
        self._channel, theirs = Channel.pair()
        with theirs:
            self.process = subprocess.Popen(
                [*_PROGRAM, str(theirs.fileno()), method, *map(str, self.cgroup.folders)],
                pass_fds=[theirs.fileno()],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in the terminal is the parent's to handle.
                start_new_session=True,
            )
        self.exits: dict[int, Exit] = {}
        self._ids = 0
        self._pid = 0

    @property
    def pid(self) -> int:
        """Of the server itself; what it starts is below it."""
        while not self._pid:
            self._note(self._receive(60.0))
        return self._pid

    def alive(self) -> bool:
        return self.process.poll() is None and (not self._pid or psutil.pid_exists(self._pid))

    def spawn(self, role: str, fds: list[int], timeout: float = 120.0) -> int:
        """Start a child with ``fds``: its control socket, then what is to be its output.

        Returns its pid. The descriptors stay open on this side.
        """
        self.exits.clear()  # numbers of processes come round again
        return int(self._ask({"op": "spawn", "role": role}, fds, timeout)["pid"])

    def connect(self) -> socket.socket:
        """A second conversation with the server, for the scorer to start eval children."""
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
        """Kill the scorer too."""
        self._ask({"op": "kill", "all": True}, [], 60.0)

    def poll(self) -> None:
        """Take note of children that have ended since."""
        with contextlib.suppress(Silent):
            while True:
                self._note(self._receive(0.0))

    def close(self) -> None:
        """End the server, and with it everything below it; another thread may be waiting for it."""
        self._channel.hang_up()
        try:
            self.process.wait(timeout=10)
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
        except WireError as error:
            raise ServerDied(f"the fork server does not answer: {error}") from None

    def _receive(self, timeout: float) -> dict[str, Any]:
        try:
            return self._channel.receive(timeout)
        except (Gone, OSError) as error:
            raise ServerDied(f"the fork server is gone: {error}") from None

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("event") == "up":
            self._pid = message["pid"]
        if message.get("event") == "exit":
            self.exits[message["pid"]] = Exit(message["code"], message["peak_memory_mb"])
