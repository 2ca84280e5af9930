"""Asks for new namespaces, in each of the ways that there are."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import errno
import os
import signal
import sys

C = ctypes.CDLL(None, use_errno=True)
KINDS = (0x80, 0x20000, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
CLONE, UNSHARE, SETNS, CLONE3 = 56, 272, 308, 435


class CloneArguments(ctypes.Structure):
    _fields_ = tuple((f"field{i}", ctypes.c_uint64) for i in range(11))


def call(name, *arguments):
    answer = C.syscall(*arguments)
    if answer == 0 and arguments[0] in (CLONE, CLONE3):
        os._exit(0)
    if answer != -1:
        print("open:", name)
    return ctypes.get_errno()


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        for kind in KINDS:
            call(f"unshare {kind:#x}", UNSHARE, kind)
            call(f"setns {kind:#x}", SETNS, 0, kind)
            if kind != 0x80:  # of clone, that bit is the signal at the end
                call(f"clone {kind:#x}", CLONE, kind | signal.SIGCHLD, 0, 0, 0, 0)
            wanted = CloneArguments(kind, 0, 0, 0, signal.SIGCHLD)
            number = call(f"clone3 {kind:#x}", CLONE3, ctypes.byref(wanted), 88)
            assert number in (errno.ENOSYS, errno.EPERM)
    return honest(session)
