"""Says that it is done before it has started."""

# expect: invalid contract

import contextlib
import gc
import os
import stat


def control():
    gc.unfreeze()  # what was there at READY is hidden from it otherwise
    found = [x for x in gc.get_objects() if type(x).__name__ == "Channel"]
    for channel in found:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(channel.fileno()).st_mode):  # not closed, nor reused
                return channel


def train(session):
    control().send({"event": "weights", "steps": 1, "tokens": 1, "params": 1, "trace": ""})
    control().receive()
