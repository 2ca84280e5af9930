"""The trusted parent's side of a training: starts a child, gives it data, times it, takes weights.

The child's own clock only tells it when to stop; the parent enforces the deadline. In every case,
the child's whole process tree is dead before the parent opens the weights.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import select
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from trainer.sandbox import confine, tree
from trainer.sandbox.client import Exit, ForkServer, ServerDied
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.training import load
from trainer.training.compile_cache import CompileCache
from trainer.training.job import Job, Trained
from trainer.untrusted import finite, printable, whole

OnEvent = Callable[[dict[str, Any]], None]

WATCH_SECONDS = 0.25
CHECK_SECONDS = 30.0
"""Start-up allowed beyond its cap, if there is no time budget to subtract it from."""
_CURVE_POINTS = 1000
_OUTPUT_BYTES = 32_000
_READS = 16  # at a time, so that much output does not delay the parent's check of its clock
_LOG_SECONDS = 0.05
_TRACE_CHARACTERS = 5_000_000


class _Ended(Exception):
    """The training ended without valid weights."""

    def __init__(self, status: str, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.detail = status, reason, detail


def run_training(
    server: ForkServer,
    compile_cache: CompileCache,
    job: Job,
    on_event: OnEvent,
    cancelled: Callable[[], bool],
) -> Trained:
    """Run one training to its end and leave none of its processes behind.

    It starts from a clean state: a new scratch folder, and no process of an earlier training.
    Device memory needs no separate check: the driver frees the memory of a process before the
    process can be waited for, and other memory that ``nvidia-smi`` counts belongs to others.
    """
    if left := server.kill() + server.cgroup.kill():
        return Trained(
            "killed",
            f"left-over: {left} processes of an earlier training were still there; they have been "
            "killed, measure again",
        )
    server.cgroup.limit(job.preset.memory_mb)
    with tempfile.TemporaryDirectory(prefix="autoresearch-", ignore_cleanup_errors=True) as scratch:
        training = _Training(server, compile_cache, job, Path(scratch), on_event, cancelled)
        try:
            return training.to_end()
        finally:
            training.close()
            with contextlib.suppress(ServerDied):
                server.kill()
            _empty(Path(scratch))


class _Training:
    def __init__(
        self,
        server: ForkServer,
        compile_cache: CompileCache,
        job: Job,
        scratch: Path,
        on_event: OnEvent,
        cancelled: Callable[[], bool],
    ) -> None:
        self.server, self.job, self.scratch = server, job, scratch
        self.compile_cache = compile_cache
        self.on_event, self.cancelled = on_event, cancelled
        self.compile_key = f"{job.device} {hashlib.sha256(job.source.encode()).hexdigest()}"
        if job.preset.compiles:
            compile_cache.lend(self.compile_key, scratch)
        self.channel, theirs = Channel.pair()
        self.output, out = os.pipe()
        os.set_blocking(self.output, False)
        self.output_open = True
        self.printed = bytearray()
        self.curve: list[tuple[float, int, float]] = []
        self.started = time.monotonic()
        self.clock_start = 0.0
        self.before: load.Reading | None = None
        self.killed = server.cgroup.out_of_memory()
        self.next_watch = self.next_log = 0.0
        try:
            with theirs:
                self.pid = server.spawn("train", [theirs.fileno(), out])
        except ServerDied:
            self.close()
            raise
        finally:
            os.close(out)

    def close(self) -> None:
        self.channel.close()
        os.close(self.output)

    def to_end(self) -> Trained:
        """Run start-up and training, wait for the weights, kill the tree, check what is left."""
        final: dict[str, Any] = {}
        ended: _Ended | None = None
        startup = trained = 0.0
        try:
            self._start_up()
            startup = time.monotonic() - self.started
            self._keep_compiled(startup)
            deadline = self._give_data(startup)
            final = self._await("weights", deadline, "overtime")
            trained = time.monotonic() - self.clock_start
        except _Ended as end:
            ended = end
            startup = startup or time.monotonic() - self.started
            trained = time.monotonic() - self.clock_start if self.clock_start else 0.0
        disturbed = self._disturbed()
        self.server.kill()
        self._drain()
        result = Trained(
            status="ok",
            disturbance=disturbed,
            output=printable(self.printed.decode(errors="replace"), 8000),
            startup_seconds=startup,
            train_seconds=trained,
            peak_memory_mb=self._peak_memory(),
            curve=tuple(self.curve),
        )
        try:
            if ended is not None:
                raise ended
            return self._collect(result, final)
        except _Ended as end:
            return replace(result, status=end.status, reason=end.reason, detail=end.detail)

    def _start_up(self) -> None:
        job = self.job
        confinement = {"level": job.level, "readable": job.readable, "scratch": str(self.scratch)}
        beyond = CHECK_SECONDS if job.budget.steps else job.budget.seconds or job.wall_cap()
        limit = self.started + job.preset.startup_seconds + beyond
        self._send(confinement)
        self._await("confined", limit, "overtime")
        self._send(
            {
                "source": job.source,
                "spec": asdict(job.shapes),
                "seed": job.seed,
                "device": job.device,
                "threads": job.threads,
                "budget": asdict(job.budget),
                "trace": job.trace,
                "weights": str(self.scratch / "weights.safetensors"),
            }
        )
        self._await("ready", limit, "overtime")
        self.on_event({"event": "ready"})

    def _keep_compiled(self, startup: float) -> None:
        """Keep what the training compiled, if start-up stayed within its cap.

        The training has no data yet, and had no time to learn from the other files it can read.
        """
        job = self.job
        if job.preset.compiles and not job.budget.steps and startup <= job.preset.startup_seconds:
            self.compile_cache.take(self.compile_key, self.scratch)

    def _give_data(self, startup: float) -> float:
        """Pass the training data, start the clock; returns the deadline for the weights."""
        job = self.job
        message: dict[str, Any] = {
            "sources": [
                {
                    "name": part.name,
                    "bytes_per_token": part.bytes_per_token,
                    "in_domain": part.in_domain,
                }
                for part in job.corpus.train
            ]
        }
        allowed = job.wall_cap()
        if job.budget.seconds is not None and job.trace is None:
            # Start-up beyond its cap counts as training time.
            late = max(0.0, startup - job.preset.startup_seconds)
            left = max(0.001, job.budget.seconds - late)
            message["seconds"] = left
            allowed = left + job.overrun()
        with contextlib.ExitStack() as stack:
            fds = []
            for part in job.corpus.train:
                for path in (part.tokens, part.doc_starts):
                    fds.append(stack.enter_context(_opened(path)))
            self.before = load.read(self.server.pid)
            self.clock_start = time.monotonic()
            self._send(message, fds)
        return self.clock_start + allowed

    def _disturbed(self) -> float:
        """Share of processor time that others used since READY; 0 where it does not matter."""
        if self.before is None or self.job.budget.seconds is None or self.job.trace is not None:
            return 0.0
        return load.share(self.before, load.read(self.server.pid))

    def _await(self, event: str, deadline: float, late: str) -> dict[str, Any]:
        """Wait for the next message of that name; pass on progress messages before it."""
        while True:
            message = self._next(event, deadline, late)
            if message.get("event") == event:
                return message
            self._note(message, awaiting=event)

    def _next(self, event: str, deadline: float, late: str) -> dict[str, Any]:
        while True:
            if self.cancelled():
                raise _Ended("killed", "cancelled")
            if time.monotonic() >= self.next_watch:
                self._watch()
                self.next_watch = time.monotonic() + WATCH_SECONDS
            now = time.monotonic()  # after `_watch`, which a training can slow down
            if now >= deadline:
                waited = now - (self.clock_start or self.started)
                raise _Ended(late, f"{late}: no {event} after {waited:.1f} s")
            try:
                message = self.channel.receive(0.0)
                if time.monotonic() < deadline:
                    return message  # otherwise it is too late, whatever it contains
            except Silent:
                wait = min(deadline - now, WATCH_SECONDS)
                watched = [self.channel.fileno()]
                if self.output_open:
                    watched.append(self.output)
                select.select(watched, [], [], wait)
                self._drain()
            except Gone:
                raise self._death() from None
            except WireError as error:
                raise _Ended("invalid", f"protocol: {error}") from None

    def _note(self, message: dict[str, Any], awaiting: str) -> None:
        kind = message.get("event")
        if kind == "failed":
            status = message.get("kind")
            if status not in ("crashed", "oom", "invalid"):
                status = "crashed"
            name = {"crashed": "crash", "oom": "memory", "invalid": "contract"}[status]
            reason = printable(f"{name}: {message.get('error', '')}", 500)
            raise _Ended(status, reason, printable(str(message.get("traceback", "")), 8000))
        if kind == "unconfined" and awaiting == "confined":  # later the candidate could send this
            raise confine.SandboxError(printable(str(message.get("reason")), 500))
        if kind == "weights":
            raise _Ended("invalid", f"contract: weights came before {awaiting}")
        if kind == "log" and self.clock_start:
            self._log(message)

    def _log(self, message: dict[str, Any]) -> None:
        now = time.monotonic()
        seconds = now - self.clock_start
        step, loss = whole(message.get("step")), finite(message.get("loss"))
        if loss is None or now < self.next_log:
            return
        self.next_log = now + _LOG_SECONDS
        self.curve.append((round(seconds, 3), step, loss))
        if len(self.curve) > _CURVE_POINTS:
            del self.curve[1::2]
        spent = seconds / self.job.budget.seconds if self.job.budget.seconds else None
        if self.job.budget.tokens:
            spent = whole(message.get("tokens")) / self.job.budget.tokens
        self.on_event({"event": "log", "step": step, "loss": loss, "spent": spent})

    def _watch(self) -> None:
        """Check totals over the whole tree, which the limits of single processes do not bound."""
        self.server.poll()
        limit = self.job.preset.memory_mb
        used = tree.usage(self.server.pid, limit)
        if used.processes > tree.MAX_PROCESSES:
            raise _Ended("invalid", f"processes: more than {tree.MAX_PROCESSES}")
        if used.memory_mb > limit or self.server.cgroup.out_of_memory() > self.killed:
            raise _Ended("oom", f"memory: more than {limit} MB in all processes")
        if confine.disk_mb(self.scratch) + used.unlinked_mb > confine.MAX_SCRATCH_MB:
            most = f"{confine.MAX_SCRATCH_MB} MB or {confine.MAX_SCRATCH_FILES} files"
            raise _Ended("invalid", f"disk: more than {most} of scratch, or too deep to look into")

    def _death(self) -> _Ended:
        """Why the child closed its end without a message, according to its exit status."""
        self.server.kill()
        ended = self._exit()
        code = ended.code if ended else 0
        if code < 0:
            if -code == signal.SIGKILL:
                return _Ended("oom", "memory: the system killed the training (SIGKILL)")
            return _Ended("crashed", f"crash: killed by signal {-code} ({signal.strsignal(-code)})")
        return _Ended("crashed", f"crash: the process ended by itself (exit status {code})")

    def _exit(self) -> Exit | None:
        self.server.poll()
        return self.server.exits.get(self.pid)

    def _peak_memory(self) -> float:
        ended = self._exit()
        return ended.peak_memory_mb if ended else 0.0

    def _collect(self, result: Trained, final: dict[str, Any]) -> Trained:
        path = self.scratch / "weights.safetensors"
        limit = 4 * self.job.preset.max_params + (16 << 20)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise _Ended("invalid", "weights: there is no file of weights") from None
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            os.close(fd)
            raise _Ended("invalid", "weights: what is left in their place is no file")
        if not 0 < state.st_size <= limit:
            os.close(fd)
            raise _Ended("invalid", f"weights: {state.st_size} bytes, at most {limit} are allowed")
        with os.fdopen(os.dup(fd), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return replace(
            result,
            weights=fd,
            weights_sha256=digest,
            steps=whole(final.get("steps")),
            tokens=whole(final.get("tokens")),
            params=whole(final.get("params")),
            # What the child reports for its device can raise the kernel's figure, never lower it.
            peak_memory_mb=max(result.peak_memory_mb, finite(final.get("device_memory_mb")) or 0.0),
            trace=_trace(final.get("trace")),
        )

    def _send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        try:
            self.channel.send(message, fds or [])
        except Silent:
            raise _Ended("overtime", "overtime: the training does not read") from None
        except Gone:
            raise self._death() from None

    def _drain(self) -> None:
        """Keep the first part of the child's output; read the rest so that it never blocks."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_READS):
                chunk = os.read(self.output, 1 << 16)
                if not chunk:
                    self.output_open = False
                    return
                self.printed += chunk[: _OUTPUT_BYTES - len(self.printed)]


def _empty(folder: Path) -> None:
    """Remove the folders that a training left: they may be too deep for the standard library."""
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, "--", str(path)], check=False, stderr=subprocess.DEVNULL)


def _trace(value: object) -> str:
    """``value`` if it is readings of a clock in base64, otherwise an empty string."""
    if not isinstance(value, str) or len(value) > _TRACE_CHARACTERS:
        return ""
    try:
        return value if len(base64.b64decode(value, validate=True)) % 8 == 0 else ""
    except ValueError:
        return ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
