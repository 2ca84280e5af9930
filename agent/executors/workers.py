"""Workers: processes of this machine that measure side by side, each on a share of its own.

A share is a device, or some of the processors; the processes of a worker's trainings cannot leave
it. A heat runs in one worker from beginning to end, so nothing is compared across shares.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from agent.executors.pool import Link, Lost, Pool
from trainer.errors import UserError
from trainer.measure import MACHINE
from trainer.sandbox import tree
from trainer.sandbox.client import environment
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.untrusted import one_line

_KEPT = re.compile(
    r"HOME|AUTORESEARCH_CACHE|HF_ENDPOINT|SSL_CERT_(FILE|DIR)|(ALL|HTTPS?|NO)_PROXY", re.IGNORECASE
)
"""What the preparation of data needs, beyond the fork server's environment."""
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/{}"


class WorkersError(UserError):
    """There are not as many devices or processors; the message says how many."""


@dataclass(frozen=True)
class Share:
    """What one worker may use."""

    processors: tuple[int, ...] = ()
    """It is bound to these; empty: to none."""
    threads: int | None = None
    """Of a training; None: as many as processors."""
    device: str | None = None
    """The one that CUDA is to see; None: those that this process sees."""
    memory_mb: float = math.inf


def processors() -> list[int]:
    """Those that this process may use; the threads of a core, and the cores of a socket, next to
    each other. Empty where the system does not bind processes to processors.
    """
    if sys.platform != "linux":
        return []
    return sorted(os.sched_getaffinity(0), key=_place)


def _place(processor: int) -> tuple[int, int, int]:
    """Socket and core of a processor, as far as the system tells."""
    found = [0, 0]
    for k, name in enumerate(("physical_package_id", "core_id")):
        with contextlib.suppress(OSError, ValueError):
            found[k] = int(Path(_TOPOLOGY.format(processor, name)).read_text())
    return found[0], found[1], processor


def devices() -> list[str]:
    """CUDA devices, by the names that CUDA_VISIBLE_DEVICES takes; empty if trainings use none."""
    probe = MACHINE.probe()
    if probe["device"] != "cuda":
        return []
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(probe["devices"])]


def possible() -> tuple[int, str]:
    """How many workers this machine can have, and why."""
    if MACHINE.probe()["device"] == "mps":
        return 1, "it has one device"
    if found := devices():
        return len(found), f"one for each of {len(found)} devices"
    if count := len(processors()):
        return count, f"one for each of {count} processors, which share the memory"
    return 1, "this system does not bind processes to processors"


def shares(count: int) -> list[Share]:
    """The machine in so many equal shares.

    Raises:
        WorkersError: it has not as many devices, or processors.
    """
    most, why = possible()
    if count > most:
        raise WorkersError(f"--workers {count}: this machine can have at most {most}: {why}")
    found, own = devices(), processors()
    each = len(own) // count
    memory_mb = psutil.virtual_memory().available / 2**20 / count
    return [
        Share(
            tuple(own[k * each : (k + 1) * each]),
            device=found[k] if found else None,
            memory_mb=memory_mb,
        )
        for k in range(count)
    ]


class Worker(Link):
    """One worker, started when it is first needed, and again when it has ended."""

    def __init__(self, name: str, share: Share) -> None:
        super().__init__()
        self.name, self.share = name, share
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel
        self._said: IO[bytes]

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self.known.clear()
        # What it says is kept for the reason of its end, and does not disturb the display.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._channel, theirs = Channel.pair()
        with theirs:
            told = json.dumps({**asdict(self.share), "fd": theirs.fileno()})
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agent.executors.serve", told],
                pass_fds=[theirs.fileno()],
                env=_environment(self.share.device),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # the campaign handles Ctrl-C in the terminal
            )

    @property
    def pid(self) -> int | None:
        """None if it has not been started."""
        return None if self._process is None else self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except WireError as error:
            raise self._lost(error) from None

    def receive(self, seconds: float) -> dict[str, Any] | None:
        try:
            return self._channel.receive(seconds)
        except Silent:
            return None
        except WireError as error:
            raise self._lost(error) from None

    def _lost(self, error: WireError) -> Lost:
        if not isinstance(error, Gone) or self._process is None:
            return Lost(f"{self.name} cannot be spoken to ({error})")
        try:
            code = self._process.wait(tree.KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return Lost(f"{self.name} has hung up")
        if code < 0:
            return Lost(f"{self.name} was killed (signal {-code})")
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
        return Lost(f"{self.name} has ended ({one_line(last, 300) or f'exit status {code}'})")

    def close(self) -> None:
        if self._process is None:
            return
        self._channel.hang_up()
        try:
            self._process.wait(2 * tree.KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._channel.close()
        self._said.close()


def _environment(device: str | None) -> dict[str, str]:
    """No keys, nothing personal but the home folder, below which the cache of data is."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    inherited = environment()
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys([here, *inherited["PYTHONPATH"].split(os.pathsep)]))
    own = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    return {**inherited, **kept, **own, "PYTHONPATH": path}


class Workers(Pool):
    """An executor over so many workers of this machine."""

    def __init__(self, given: Sequence[Share]) -> None:
        """``given``: see ``shares``."""
        self.workers = [Worker(f"worker {k}", share) for k, share in enumerate(given, 1)]
        super().__init__(list(self.workers))
