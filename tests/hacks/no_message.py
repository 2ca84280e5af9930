"""Speaks another protocol."""

# expect: invalid protocol

import contextlib
import gc
import os


def control():
    found = [x for x in gc.get_objects() if type(x).__name__ == "Channel"]
    for channel in found:
        with contextlib.suppress(OSError):
            os.fstat(channel.fileno())
            return channel


def train(session):
    session.ready()
    control()._sock.sendall(b"\xff" * 100)
    control().receive()
