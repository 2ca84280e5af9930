"""The warm process that children are forked from.

``import torch`` takes seconds; a fork of a process that has done it takes milliseconds. The server
runs no torch operation (OpenMP's threads would not survive the fork), never initialises a device,
and is the subreaper of all orphans of its children.

On Linux the server's parent is a small supervisor process, also a subreaper, which only waits for
the server to end. Whatever ends the server, the supervisor adopts the orphans of its children and
kills them. If the supervisor ends first, the server kills all its descendants and ends. So some
processes remain only if both are killed at once. Where there are control groups, the next server's
control group then removes them.

A server below which the kernel does not end a killed process says so (``unkillable``) and ends: its
client starts another, below which nothing is left of the last training.

Requests: ``spawn`` (a role, sent with descriptors), ``connect``, ``kill``. Answers carry the
request's ``id``; ``exit`` events are sent without a request. The caller defines what a role does
(``trainer.roles``).
"""

from __future__ import annotations

import contextlib
import gc
import os
import pkgutil
import selectors
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.sandbox import tree
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.wire import Channel, WireError


@dataclass(frozen=True)
class ChildRole:
    """What a child of the server does."""

    start: str
    """``module:function``, which gets the control channel and the descriptors of the request, and
    returns the exit status. It is imported in the child, unless the server has done so before."""
    trusted: bool = False
    """Whether it runs no candidate code: ``kill`` then spares it, and its memory is not limited."""
    scorer_may_start: bool = False
    """Whether the scorer may start it, over the scorer's own connection to the server."""


Roles = Mapping[str, ChildRole]


@dataclass
class _Server:
    """The state and the main loop of the server."""

    roles: Roles
    program: str
    method: str
    main: Channel
    cgroup: Cgroup
    supervisor: int | None
    """A pipe that closes when the supervisor ends; None where there is no supervisor."""
    trusted: set[int] = field(default_factory=set)
    children: set[int] = field(default_factory=set)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self) -> None:
        """Answer until the main client or the supervisor is gone, or a process cannot be killed."""
        wakeup_read, wakeup_write = os.pipe()
        os.set_blocking(wakeup_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self.selector.register(wakeup_read, selectors.EVENT_READ)
        self.selector.register(self.main, selectors.EVENT_READ)
        if self.supervisor is not None:
            self.selector.register(self.supervisor, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fd == self.supervisor:
                    return
                if key.fd == wakeup_read:
                    os.read(wakeup_read, 4096)
                    self.reap()
                    continue
                client: Any = key.fileobj
                try:
                    request = client.receive(10.0, want_fds=True)
                    self._answer(client, request, client.take_fds())
                except tree.Unkillable as error:
                    with contextlib.suppress(WireError):
                        self.main.send({"event": "unkillable", "reason": str(error)})
                    return
                except WireError:
                    if client is self.main:
                        return
                    self.selector.unregister(client)
                    client.close()

    def _answer(self, client: Channel, request: dict[str, Any], fds: list[int]) -> None:
        answer: dict[str, Any] = {"id": request["id"]}
        if request["op"] == "spawn":
            name = request["role"]
            role = self.roles[name]
            if client is not self.main and not role.scorer_may_start:
                raise WireError(f"{name} children are not the scorer's to start")
            pid = self._fork(role, fds) if self.method == "fork" else self._exec(name, fds)
            self.children.add(pid)
            if role.trusted:
                self.trusted.add(pid)
            else:  # it waits for its job, so no candidate code has run yet
                self.cgroup.add(pid)
            answer["pid"] = pid
        elif request["op"] == "connect":
            self.selector.register(Channel.from_fd(fds.pop(0)), selectors.EVENT_READ)
        elif request["op"] == "kill":
            spare = () if request.get("all") else tuple(self.trusted)
            answer["killed"] = tree.kill_descendants(self.reap, spare)
        for fd in fds:
            os.close(fd)
        client.send(answer)

    def reap(self) -> None:
        """Reap dead processes, orphans of children included, and report the exits of children."""
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

    def _fork(self, role: ChildRole, fds: list[int]) -> int:
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
        """Start a fresh interpreter, where a fork without exec is unsafe; it is seconds slower."""
        program = (sys.executable, "-P", "-m", self.program)
        process = subprocess.Popen(
            [*program, "child", role, str(os.getpid()), *map(str, fds)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        process.returncode = 0  # reaped by `reap`, not by subprocess
        return process.pid


def _arrange(fds: list[int]) -> list[int]:
    """Close every descriptor except ``fds``, and redirect standard input, output and error.

    ``fds`` are the control socket, one for standard output and error (if absent, all output is
    discarded), and whatever else the role takes.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for target in (1, 2):
        os.dup2(fds[1] if len(fds) > 1 else null, target)
    keep = sorted({0, 1, 2, *fds})
    for low, high in zip(keep, [*keep[1:], 65536], strict=True):
        os.closerange(low + 1, high)
    return fds


def _enter(role: ChildRole, fds: list[int], server: int) -> int:
    tree.die_with_parent(server)
    if not role.trusted:
        tree.be_first_to_go()
    start: Callable[[Channel, list[int]], int] = pkgutil.resolve_name(role.start)
    return start(Channel.from_fd(fds[0]), fds)


def _supervised(channel: Channel) -> int | None:
    """Continue as a child of a supervisor, which ends only after all that the server leaves.

    Returns a pipe that closes when the supervisor ends; None where orphans cannot be adopted.
    """
    if sys.platform != "linux":
        return None
    tree.become_subreaper()
    ours, theirs = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(theirs)
        return ours
    os.close(ours)
    channel.close()  # so that the parent sees at once when the server is gone
    os.waitpid(server, 0)
    with contextlib.suppress(tree.Unkillable):  # whoever adopts it next can do no more
        tree.kill_descendants(_collect)
    os._exit(0)


def _collect() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(roles: Roles, preload: Callable[[], None], program: str) -> None:
    """Serve until the parent hangs up; or, where forks are unsafe, run as one child.

    Args:
        preload: imports what the roles need, before the first fork.
        program: the module that called this; where forks are unsafe, a child is started with it.
    """
    if sys.argv[1] == "child":
        name, server, *fds = sys.argv[2:]
        sys.exit(_enter(roles[name], _arrange([int(fd) for fd in fds]), int(server)))
    fd, method, *folders = sys.argv[1:]
    channel, group = Channel.from_fd(int(fd)), Cgroup(tuple(map(Path, folders)))
    supervisor = _supervised(channel)
    tree.become_subreaper()
    channel.send({"event": "up", "pid": os.getpid()})
    if method == "fork":
        preload()
    gc.collect()
    gc.freeze()  # every child shares the present objects; a collection would copy their pages
    started = _Server(roles, program, method, channel, group, supervisor)
    started.serve()
    with contextlib.suppress(tree.Unkillable):  # its supervisor adopts it
        tree.kill_descendants(started.reap)
