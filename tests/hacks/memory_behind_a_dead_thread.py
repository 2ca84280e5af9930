"""Ends its first thread, which a process's size is read from, and fills memory in another."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: oom memory

import ctypes
import os
import threading
import time

EXIT = {"x86_64": 60, "aarch64": 93}


def fill():
    time.sleep(0.2)
    held = [torch.ones(125_000_000) for _ in range(16)]
    time.sleep(100 + len(held))


def train(session):
    session.ready()
    threading.Thread(target=fill).start()
    ctypes.CDLL(None).syscall(EXIT[os.uname().machine], 0)
