"""Leaves processes behind that start each other again."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import os
import signal
import time


def linger(tell):
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    print("pid", os.getpid())
    os.write(tell, b".")
    while True:
        if os.fork() == 0:
            time.sleep(0.05)
            os._exit(0)
        os.wait()


def train(session, honest=train):
    hear, tell = os.pipe()
    for _ in range(3):
        if os.fork() == 0:
            linger(tell)
        os.read(hear, 1)
    return honest(session)
