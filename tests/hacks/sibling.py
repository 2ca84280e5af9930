"""Makes its children its parent's, and the first to be forgotten."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import os
import signal
import sys
import time

CLONE, CLONE_PARENT = 56, 0x8000


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(36, 1, 0, 0, 0)  # its orphans become its own
        for flags in (CLONE_PARENT | signal.SIGCHLD, CLONE_PARENT):
            if libc.syscall(CLONE, flags, 0, 0, 0, 0) == 0:
                libc.prctl(1, 0, 0, 0, 0)  # not to die with its parent
                os.setsid()
                print("pid", os.getpid())
                time.sleep(1000)
    model = honest(session)
    time.sleep(0.2)
    return model
