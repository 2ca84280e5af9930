"""Looks for a place where scoring could leave validation text for later."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import os
import sys

C = ctypes.CDLL(None, use_errno=True)


def attempts():
    here = os.path.dirname(torch.__file__)  # noqa: PTH120
    yield "shmget", lambda: C.shmget(4711, 1 << 20, 0o1666)
    yield "semget", lambda: C.semget(4711, 100, 0o1666)
    yield "msgget", lambda: C.msgget(4711, 0o1666)
    yield "mq_open", lambda: C.syscall(240, b"cheat", 0o102, 0o666, None)
    yield "add_key", lambda: C.syscall(248, b"user", b"cheat", b"x", 1, -4)
    yield "utime", lambda: C.utimes(os.fsencode(here) + b"/version.py", None)
    yield "chmod", lambda: C.chmod(os.fsencode(here) + b"/version.py", 0o644)
    yield "setxattr", lambda: C.setxattr(os.fsencode(here) + b"/version.py", b"user.x", b"x", 1, 0)
    yield "prlimit", lambda: C.prlimit(os.getppid(), 7, None, ctypes.create_string_buffer(16))
    yield "setpriority", lambda: C.setpriority(0, os.getppid(), 10)
    yield "memory of the parent", lambda: C.ptrace(16, os.getppid(), 0, 0)


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        for name, attempt in attempts():
            print("shut:" if attempt() == -1 else "open:", name)
    return honest(session)
