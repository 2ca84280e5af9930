"""The warm processes of this machine, and the settings of a measurement resolved for it."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any, get_args

import psutil

from trainer.data.choice import AUTO
from trainer.presets import BadSetting, Isolation, Preset, find_preset
from trainer.sandbox import confine, owner
from trainer.sandbox.client import ForkServer, ServerDied
from trainer.sandbox.confine import Confinement, SandboxError
from trainer.sandbox.readable import granted
from trainer.sandbox.wire import Channel, WireError
from trainer.training.compile_cache import CompileCache
from trainer.training.scratch import sweep
from trainer.training.startup import StartUps

PROGRAM = "trainer.roles"
"""What the fork server runs. It imports the code of all children, so no parent may import it."""


_PROBES = 3
"""A process that is killed while it starts is started again; one that always dies is told."""


@dataclass(frozen=True)
class Share:
    """What this process may take of its machine, where others measure on it as well."""

    threads: int | None = None
    """None: one for each processor that it may use."""
    memory_mb: float = math.inf


class Machine:
    """The warm processes and what they report about the machine. One measurement runs at a time."""

    def __init__(self) -> None:
        self.share = Share()
        self.compile_cache = CompileCache()
        """What trainings have compiled while the present server has been up."""
        self.start_ups = StartUps()
        self._servers: list[ForkServer] = []
        self._lock = threading.RLock()
        self._probe: dict[str, Any] | None = None

    def server(self) -> ForkServer:
        """The fork server, started on first use and again when it has died.

        Before it starts, what killed processes have left on this machine is removed.
        """
        return self.servers(1)[0]

    def servers(self, count: int) -> list[ForkServer]:
        """As many fork servers, one for each training of a heat; they stay warm as well."""
        with self._lock:
            if not all(server.alive() for server in self._servers):
                self.close()
            if not self._servers:
                owner.kill_orphans()
                sweep()
            while len(self._servers) < count:
                self._servers.append(ForkServer(PROGRAM))
            return self._servers[:count]

    def probe(self) -> dict[str, Any]:
        """``device`` (cpu, mps, cuda), its ``name``, the version of ``torch``; of cuda how many
        ``devices`` there are, and the ``device_memory_mb`` of the first.

        Raises:
            SandboxError: the processes cannot be started.
        """
        with self._lock:
            for left in reversed(range(_PROBES)):
                if self._probe is not None:
                    break
                channel, theirs = Channel.pair()
                with contextlib.closing(channel):
                    try:
                        with theirs:
                            self.server().spawn("probe", [theirs.fileno()])
                        self._probe = channel.receive(120.0)
                    except (ServerDied, WireError) as error:
                        if left:  # killed by hand, or for want of memory: that may be over
                            self.close()
                            continue
                        raise SandboxError(
                            f"the measuring process does not start ({error}); does this work: "
                            f"{sys.executable} -c 'import torch'"
                        ) from None
            assert self._probe is not None
            return self._probe

    def close(self) -> None:
        """End the processes; the next use starts them again.

        A measurement that runs in another thread ends as ``crashed``: this does not wait for it,
        since at the interpreter's exit it would wait forever.
        """
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if servers:
            self.compile_cache.close()

    def __enter__(self) -> Machine:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


MACHINE = Machine()
atexit.register(MACHINE.close)


@dataclass(frozen=True)
class Setting:
    """The settings of a measurement, resolved for this machine."""

    preset: Preset
    device: str
    level: str
    threads: int
    data: str

    def confinement(self, scratch: str | None) -> Confinement:
        """Of a child that may write to ``scratch`` only."""
        readable = tuple(map(str, granted(self.device)))
        return Confinement(self.level, readable, scratch, self.preset.scratch_mb)

    @property
    def shown(self) -> str:
        return f"{self.device}, preset {self.preset.name}, isolation {self.level}"


def resolve(
    preset: str = "auto", device: str = "auto", isolation: str = "auto", source: str = AUTO
) -> Setting:
    """Find the device, its preset, the preset's corpus and the level of isolation.

    Raises:
        BadSetting: an unknown preset, device or isolation.
        SandboxError: isolation is required but not available.
    """
    if isolation not in get_args(Isolation):
        raise BadSetting(f"isolation {isolation!r}: choose auto, require or off")
    if device not in ("auto", "cpu", "mps", "cuda"):
        raise BadSetting(f"device {device!r}: choose auto, cpu, mps or cuda")
    if preset != "auto":
        find_preset(preset)
    found = MACHINE.probe()["device"] if device == "auto" else device
    by_memory = preset == "auto" and found == "cuda"
    memory_mb = MACHINE.probe().get("device_memory_mb") if by_memory else None
    chosen = find_preset(preset, found, memory_mb)
    cores = MACHINE.share.threads
    if cores is None and sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    elif cores is None:
        cores = psutil.cpu_count(logical=False)
    threads = chosen.threads or cores or 1
    data = chosen.data if source == AUTO else source
    return Setting(chosen, found, confine.level_for(isolation), threads, data)
