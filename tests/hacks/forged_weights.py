"""Says that it is done before it has started."""

# expect: invalid contract

import contextlib
import gc
import os


def control():
    gc.unfreeze()  # what was there at READY is hidden from it otherwise
    found = [x for x in gc.get_objects() if type(x).__name__ == "Channel"]
    for channel in found:
        with contextlib.suppress(OSError):
            os.fstat(channel.fileno())
            return channel


def train(session):
    control().send({"event": "weights", "steps": 1, "tokens": 1, "params": 1, "trace": ""})
    control().receive()
