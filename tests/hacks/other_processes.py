"""Looks into the memory and the descriptors of every process that it can see."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import os
import sys

C = ctypes.CDLL(None, use_errno=True)


class Range(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


def attempts(pid):
    for name in ("mem", "maps", "environ", "cmdline", "fd", "root", "cwd", "task", "fdinfo"):
        path = f"/proc/{pid}/{name}"
        yield path, lambda path=path: os.close(os.open(path, os.O_RDONLY))
    here = Range(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    there = Range(id(C), 8)
    yield (
        f"process_vm_readv {pid}",
        lambda: called(310, pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0),
    )
    yield f"kcmp {pid}", lambda: called(312, os.getpid(), pid, 0, 0, 1)
    yield f"pidfd_getfd {pid}", lambda: called(438, os.pidfd_open(pid), 1, 0)


def called(number, *arguments):
    if C.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), number)


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        for pid in (os.getppid(), 1, *range(os.getpid() - 30, os.getpid())):
            for name, attempt in attempts(pid):
                try:
                    attempt()
                    print("open:", name)
                except OSError:
                    pass
    return honest(session)
