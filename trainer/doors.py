"""A training file that tries every way out of the sandbox and prints which are open.

``python -m agent doctor`` measures it and reads its output. It keeps the contract as far as the
text goes, and never trains.
"""

import ctypes
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCAB_SIZE = 257
SEQ_LEN = 64
CLONE_NEWUSER = 0x10000000


def _libc(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _system_call(number: int, *arguments: int) -> None:
    _libc("syscall", number, *arguments)


DOORS: dict[str, Callable[[], Any]] = {
    "read a home folder": lambda: os.listdir(Path("~root").expanduser()),  # noqa: PTH208
    "read /etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
    "read the trainer": lambda: Path(os.environ["PYTHONPATH"], "trainer/score.py").read_bytes(),
    "read another process": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "write outside scratch": lambda: Path("/tmp/autoresearch-door").write_text("open"),
    "internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "datagram socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "vsock socket": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "new user namespace": lambda: _libc("unshare", CLONE_NEWUSER),
    "trace a process": lambda: _libc("ptrace", 16, os.getppid(), 0, 0),
    "a key in the environment": lambda: next(
        name for name in os.environ if "KEY" in name or "TOKEN" in name or "SECRET" in name
    ),
}


def build_model(spec: Any) -> Any:
    raise RuntimeError("this file has no model")


def train(session: Any) -> Any:
    for name, attempt in DOORS.items():
        try:
            attempt()
        except (OSError, StopIteration, AttributeError, KeyError):
            print(f"{name}: shut", flush=True)
        else:
            print(f"{name}: open", flush=True)
    raise RuntimeError("every door has been tried")
