"""The child process of a training, as its parent sees it: messages, output, limits, stop and go."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from trainer.sandbox import tree
from trainer.sandbox.client import Exit, ForkServer, ServerDied
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.training.job import Ended
from trainer.training.scratch import scratch_folder

WATCH_SECONDS = 0.25
STOP_SECONDS = 10.0
"""Within this time all processes of a training must be stopped."""
USED_SECONDS = 0.05
"""Processor time that a stopped training may seem to use; it is counted in hundredths."""
_OUTPUT_BYTES = 32_000
_READS = 16  # at a time, so that a flood of output does not keep the parent from its clock


class ChildProcess(contextlib.ExitStack):
    """The process and all that it starts, below a fork server that has no other; a context manager.

    Start and end are clean: a new scratch folder, no process of an earlier training, none left.
    Device memory needs no separate check: the driver frees the memory of a process before the
    process can be waited for, and other memory that ``nvidia-smi`` counts belongs to others.
    """

    def __init__(
        self, server: ForkServer, memory_mb: int, scratch_mb: int, cancelled: Callable[[], bool]
    ) -> None:
        """The limits are of all its processes together."""
        super().__init__()
        self.server = server
        self.printed = bytearray()
        """The first part of its output."""
        self._memory_mb, self._scratch_mb = memory_mb, scratch_mb
        self._cancelled = cancelled
        self._stopped: list[psutil.Process] = []
        self._frozen = False
        self._used = 0.0
        self._output_open = False
        self._next_watch = 0.0
        self._pid = 0

    def __enter__(self) -> ChildProcess:
        self.left_over = self.server.kill() + self.server.cgroup.kill()
        """Processes of an earlier training that were still there, and have been killed."""
        self.server.limit(self._memory_mb, self._scratch_mb)
        self.server.cgroup.thaw()
        self.scratch = self.enter_context(scratch_folder())
        self.callback(self._leave_none)
        return self

    def start(self) -> None:
        """Start it; it waits for its confinement."""
        self._output, writing_end = os.pipe()
        self.callback(os.close, self._output)
        os.set_blocking(self._output, False)
        self._output_open = True
        self._channel, theirs = Channel.pair()
        self.callback(self._channel.close)
        with theirs, os.fdopen(writing_end, "wb"):
            self._pid = self.server.spawn("train", [theirs.fileno(), writing_end])

    def stop(self) -> None:
        """Stop all its processes: its control group where that can be frozen, else each of them.

        Raises:
            Ended: they could not be stopped, and have been killed.
        """
        deadline = time.monotonic() + STOP_SECONDS
        try:
            if not self._freeze(deadline):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGSTOP)  # at once; to find the others takes longer
                self._stopped = tree.stop(self.server.pid, deadline)
        except TimeoutError as error:
            self.kill()
            raise Ended("invalid", f"processes: {error}") from None
        self._used = tree.processor_seconds(self.server.pid, self._stopped)

    def _freeze(self, deadline: float) -> bool:
        """Freeze its control group; False, and nothing is stopped, if that does not hold all."""
        group = self.server.cgroup
        frozen = group.freeze(deadline)
        self._stopped = tree.below(self.server.pid) if frozen else []
        # The dead are members of no group.
        self._frozen = bool(frozen) and all(
            process.pid in frozen or tree.is_stopped(process.pid) for process in self._stopped
        )
        if not self._frozen:
            group.thaw()
        return self._frozen

    def resume(self) -> None:
        """Let its processes go on, if they were stopped.

        Raises:
            Ended: some of them have computed meanwhile.
        """
        if not self._stopped:
            return
        used = tree.processor_seconds(self.server.pid, self._stopped) - self._used
        if used > USED_SECONDS:
            raise Ended("invalid", f"processes: {used:.2f} s were computed while stopped")
        if self._frozen:
            self.server.cgroup.thaw()
        tree.resume(self._stopped)  # those in the group too: another may have stopped one
        self._stopped, self._frozen = [], False

    def kill(self) -> None:
        """Kill all its processes, and read what is left of their output."""
        self.server.kill()
        self._drain()

    def _leave_none(self) -> None:
        with contextlib.suppress(ServerDied):
            self.server.kill()
        self.server.cgroup.thaw()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message, with descriptors.

        Raises:
            Ended: it does not read, or is gone.
        """
        try:
            self._channel.send(message, fds)
        except Silent:
            raise Ended("overtime", "overtime: the training does not read") from None
        except Gone:
            raise self._death() from None

    def receive(
        self, awaited: str, clock: Callable[[], float], limit: float, until: float
    ) -> dict[str, Any] | None:
        """The next message; None if there is none until the time ``until`` (monotonic).

        Args:
            awaited: the event that is waited for, for the reason of an end.
            limit: reading of ``clock`` after which a message is too late.

        Raises:
            Ended: the process is gone, over a limit, too late, or the user has cancelled.
        """
        while True:
            if self._cancelled():
                raise Ended("killed", "cancelled")
            if time.monotonic() >= self._next_watch:
                self._watch()
                self._next_watch = time.monotonic() + WATCH_SECONDS
            now = clock()  # after `_watch`, which a training can slow down
            if now >= limit:
                raise Ended("overtime", f"overtime: no {awaited} after {now:.1f} s")
            left = min(limit - now, until - time.monotonic())
            if left <= 0:
                return None
            try:
                message = self._channel.receive(0.0)
                if clock() < limit:
                    return message  # otherwise it is too late, whatever it contains
            except Silent:
                watched = [self._channel.fileno(), *([self._output] if self._output_open else [])]
                select.select(watched, [], [], min(left, WATCH_SECONDS))
                self._drain()
            except Gone:
                raise self._death() from None
            except WireError as error:
                raise Ended("invalid", f"protocol: {error}") from None

    @property
    def peak_memory_mb(self) -> float:
        """Of the process itself, as the kernel reports it; 0 while it runs."""
        return self._exit.peak_memory_mb

    def _watch(self) -> None:
        self.server.poll()
        if (excess := self.server.excess(self.scratch)) is not None:
            raise Ended(*excess)

    def _death(self) -> Ended:
        """Why the child closed its end without a message, according to its exit status."""
        self.server.kill()
        code = self._exit.code
        if code < 0:
            if -code == signal.SIGKILL:
                # Never taken as from outside: it may have killed itself, for a second try.
                reason = "memory: killed by SIGKILL, as the system does where memory is short"
                return Ended(*(self.server.excess(self.scratch) or ("oom", reason)))
            return Ended("crashed", f"crash: killed by signal {-code} ({signal.strsignal(-code)})")
        return Ended("crashed", f"crash: the process ended by itself (exit status {code})")

    @property
    def _exit(self) -> Exit:
        return self.server.exits.get(self._pid, Exit(0, 0.0))

    def _drain(self) -> None:
        """Keep the first part of the child's output; read the rest so that it never blocks."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_READS if self._output_open else 0):
                chunk = os.read(self._output, 1 << 16)
                if not chunk:
                    self._output_open = False
                    return
                self.printed += chunk[: _OUTPUT_BYTES - len(self.printed)]
