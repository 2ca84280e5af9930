"""Ignores every signal, in every process of a tree that hides, past the deadline."""

# expect: overtime overtime
# budget: 0.5s

import contextlib
import os
import signal
import time


def train(session):
    for number in signal.valid_signals():
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    session.ready()
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                break
            os._exit(0)
    print("pid", os.getpid())
    while True:
        time.sleep(1)
