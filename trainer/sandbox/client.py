"""The warm process that children are forked from.

``import torch`` takes seconds; a fork of a process that has done it takes milliseconds. The server
is ours and not the standard library's, because that one listens on a socket that a confined child
can reach and hands the parent's environment on. This one is exec'd with an allow-listed
environment, talks over one inherited socketpair, runs no torch operation (OpenMP's threads would
not survive the fork), never initialises a device, and is the subreaper of all that its children
leave behind. One training or one scoring is under way at a time, so everything below the server
but the scorer belongs to it, and ``kill`` empties the tree.

On Linux a small supervisor stands above the server, a subreaper as well, and does nothing but wait
for its end: whatever ends the server, its children's orphans come to the supervisor and are killed.
When the supervisor ends first, the server does the same. So nothing is left unless both are killed
at once, and then the next server's control group removes it where there are groups.

Requests: ``spawn`` (role, descriptors beside it), ``kill``. Answers carry the request's ``id``;
``exit`` events come unasked. Roles are ``train``, ``eval`` (both run candidate code), ``score`` and
``probe`` (trusted).
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from trainer.sandbox import cgroup
from trainer.sandbox import confine as sandbox
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.training.compile_cache import CompileCache

TRUSTED = ("score", "probe")
_PROGRAM = (sys.executable, "-P", "-m", "trainer.sandbox.client")
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
        self.compiled = CompileCache()
        """What trainings have compiled while this server has been up."""
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
        self.compiled.close()

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


@dataclass
class _Server:
    """The server's own side."""

    method: str
    main: Channel
    cgroup: Cgroup
    supervisor: int | None
    """A pipe that ends when the supervisor does; None where there is none."""
    trusted: set[int] = field(default_factory=set)
    children: set[int] = field(default_factory=set)

    def serve(self) -> None:
        """Answer until the main client is gone, then leave nothing behind."""
        wakeup_read, wakeup_write = os.pipe()
        os.set_blocking(wakeup_write, False)
        os.set_blocking(wakeup_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(wakeup_read, selectors.EVENT_READ)
        selector.register(self.main, selectors.EVENT_READ)
        if self.supervisor is not None:
            selector.register(self.supervisor, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == self.supervisor:
                    sandbox.kill_descendants(self.reap)
                    return
                if key.fd == wakeup_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wakeup_read, 4096)
                    self.reap()
                    continue
                client = key.fileobj
                assert isinstance(client, Channel)
                try:
                    request = client.receive(10.0, want_fds=True)
                    self._answer(client, request, client.take_fds(), selector)
                except WireError:
                    if client is self.main:
                        sandbox.kill_descendants(self.reap)
                        return
                    selector.unregister(client)
                    client.close()

    def _answer(
        self,
        client: Channel,
        request: dict[str, Any],
        fds: list[int],
        selector: selectors.BaseSelector,
    ) -> None:
        answer: dict[str, Any] = {"id": request["id"]}
        if request["op"] == "spawn":
            role = request["role"]
            if client is not self.main and role != "eval":
                raise WireError("only eval children are the scorer's to start")
            pid = self._fork(role, fds) if self.method == "fork" else self._exec(role, fds)
            self.children.add(pid)
            if role in TRUSTED:
                self.trusted.add(pid)
            else:  # it waits for its job, so nothing of a candidate has run yet
                self.cgroup.add(pid)
            answer["pid"] = pid
        elif request["op"] == "connect":
            other = Channel.from_fd(fds.pop(0))
            selector.register(other, selectors.EVENT_READ)
        elif request["op"] == "kill":
            spare = () if request.get("all") else tuple(self.trusted)
            answer["killed"] = sandbox.kill_descendants(self.reap, spare)
        for fd in fds:
            os.close(fd)
        client.send(answer)

    def reap(self) -> None:
        """Collect the dead, orphans of children included, and report the children."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.trusted.discard(pid)
            if pid in self.children:
                self.children.discard(pid)
                unit = 1 if sys.platform == "darwin" else 1024
                message = {
                    "event": "exit",
                    "pid": pid,
                    "code": os.waitstatus_to_exitcode(status),
                    "peak_memory_mb": round(usage.ru_maxrss * unit / 2**20, 1),
                }
                with contextlib.suppress(WireError):
                    self.main.send(message)

    def _fork(self, role: str, fds: list[int]) -> int:
        server = os.getpid()
        pid = os.fork()
        if pid != 0:
            return pid
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            code = _enter(role, _arrange(fds), server)
        except BaseException:  # noqa: BLE001  nothing may return into the server's loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _exec(self, role: str, fds: list[int]) -> int:
        """For systems where a fork without exec is unsafe: a fresh interpreter, seconds slower."""
        process = subprocess.Popen(
            [*_PROGRAM, "child", role, str(os.getpid()), *map(str, fds)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        process.returncode = 0  # reaped by `reap`, not by subprocess
        return process.pid


def _arrange(fds: list[int]) -> list[int]:
    """Close every descriptor but ``fds`` and put the output in place.

    ``fds`` are the control socket, one for standard output and error (absent: thrown away), and
    whatever else the role takes.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for target in (1, 2):
        os.dup2(fds[1] if len(fds) > 1 else null, target)
    keep = sorted({0, 1, 2, *fds})
    for low, high in zip(keep, [*keep[1:], 65536], strict=True):
        os.closerange(low + 1, high)
    return fds


def _enter(role: str, fds: list[int], server: int) -> int:
    sandbox.die_with_parent(server)
    if role not in TRUSTED:
        sandbox.be_first_to_go()
    from trainer.scoring import scorer as score
    from trainer.training import child

    if role == "score":
        return score.main(Channel.from_fd(fds[0]), Channel.from_fd(fds[2]))
    return child.main(role, Channel.from_fd(fds[0]))


def _supervised(channel: Channel) -> int | None:
    """Go on as a child of a supervisor, which ends only after all that the server leaves.

    Returns a pipe that ends when the supervisor does; None where orphans cannot be had.
    """
    if sys.platform != "linux":
        return None
    sandbox.become_subreaper()
    ours, theirs = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(theirs)
        return ours
    os.close(ours)
    channel.close()  # so that the parent sees at once when the server is gone
    os.waitpid(server, 0)
    sandbox.kill_descendants(_collect)
    os._exit(0)


def _collect() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _main(channel: Channel, method: str, group: Cgroup) -> None:
    supervisor = _supervised(channel)
    sandbox.become_subreaper()
    channel.send({"event": "up", "pid": os.getpid()})
    if method == "fork":
        import nono_py  # noqa: F401
        import torch._dynamo  # noqa: F401  the first optimizer would import it, at a second's cost

    gc.collect()
    gc.freeze()  # what is here now is shared with every child; a collection would copy its pages
    _Server(method, channel, group, supervisor).serve()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        sys.exit(_enter(sys.argv[2], _arrange([int(fd) for fd in sys.argv[4:]]), int(sys.argv[3])))
    _main(Channel.from_fd(int(sys.argv[1])), sys.argv[2], Cgroup(tuple(map(Path, sys.argv[3:]))))
