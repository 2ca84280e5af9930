"""A training file that tries every way out of the sandbox and prints which are open.

Measured like any other file, it tells in its output which are open. Its text keeps the contract,
but it never trains.
"""

import ctypes
import os
import platform
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCAB_SIZE = 257
SEQ_LEN = 64
CLONE_NEWUSER = 0x10000000
CLONE = {"x86_64": 56, "aarch64": 220}
IO_URING_SETUP, PIDFD_GETFD = 425, 438
IPC_PRIVATE, IPC_RMID = 0, 0
PTRACE_SEIZE = 0x4206  # it does not stop the traced process


def _libc(name: str, *arguments: Any) -> int:
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def _clone() -> None:
    """Start a process in its own user namespace: the effect of ``unshare``, through ``clone``."""
    number, flags = CLONE[platform.machine()], CLONE_NEWUSER | signal.SIGCHLD
    pid = _libc("syscall", number, flags, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _read_trainer() -> bytes:
    project = os.environ["PYTHONPATH"].split(os.pathsep)[0]  # the user's own come after it
    return Path(project, "trainer/measure.py").read_bytes()


def _change_mode() -> None:
    Path("file").touch()
    Path("file").chmod(0o4777)


ESCAPES: dict[str, Callable[[], Any]] = {
    "read a home folder": lambda: os.listdir(Path("~root").expanduser()),  # noqa: PTH208
    "read /etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
    "read the trainer": _read_trainer,
    "read another process": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "write outside scratch": lambda: Path("/tmp/autoresearch-door").write_text("open"),
    "internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "datagram socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "vsock socket": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "new user namespace by clone": _clone,
    "another namespace": lambda: _libc("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0),
    "trace a process": lambda: _libc("ptrace", PTRACE_SEIZE, os.getppid(), 0, 0),
    "memory of the fork server": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),  # noqa: PTH123, SIM115
    "descriptors of the fork server": lambda: os.listdir(f"/proc/{os.getppid()}/fd"),  # noqa: PTH208
    "a descriptor of the fork server": lambda: _libc(
        "syscall", PIDFD_GETFD, os.pidfd_open(os.getppid()), 0, 0
    ),
    "limits of the fork server": lambda: resource.prlimit(
        os.getppid(), resource.RLIMIT_CORE, (0, 0)
    ),
    "processors of the fork server": lambda: os.sched_setaffinity(
        os.getppid(), os.sched_getaffinity(0)
    ),
    "other processors": lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
    "io_uring": lambda: _libc("syscall", IO_URING_SETUP, 1, ctypes.create_string_buffer(120)),
    "memory that outlives a process": lambda: _libc(
        "shmctl", _libc("shmget", IPC_PRIVATE, 4096, 0o600), IPC_RMID, None
    ),
    "modes of files": _change_mode,
    "a key in the environment": lambda: next(
        name for name in os.environ if "KEY" in name or "TOKEN" in name or "SECRET" in name
    ),
    # Last: once inside, the fork server is another user's, and its doors would look shut.
    "new user namespace": lambda: _libc("unshare", CLONE_NEWUSER),
}


def build_model(spec: Any) -> Any:
    raise RuntimeError("this file has no model")


def train(session: Any) -> Any:
    for name, attempt in ESCAPES.items():
        try:
            attempt()
        except (AttributeError, KeyError):
            print(f"{name}: not on this system", flush=True)
        except (OSError, StopIteration):
            print(f"{name}: shut", flush=True)
        else:
            print(f"{name}: open", flush=True)
    raise RuntimeError("every escape has been tried")
