"""Becomes another program, which nobody has confined."""

# expect: crashed crash

import os
import sys

TRIES = """
import os, socket
for attempt in (
    lambda: os.listdir("@home@"),
    lambda: os.listdir("@cache@"),
    lambda: socket.socket(),
    lambda: os.kill(os.getppid(), 0),
):
    try:
        attempt()
        print("open:", attempt.__code__.co_names)
    except OSError:
        pass
print("tried")
"""


def train(session):
    session.ready()
    os.execv(sys.executable, [sys.executable, "-S", "-c", TRIES])
