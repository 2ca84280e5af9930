"""Forged counts in the last message."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

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


def train(session, honest=train):
    channel = control()
    send = channel.send

    def forge(message, *rest):
        if message["event"] == "weights":
            message |= {"steps": 10**400, "tokens": -1, "params": True, "trace": "\u00e9" * 99}
            message["device_memory_mb"] = 10**4000
        send(message, *rest)

    channel.send = forge
    return honest(session)
