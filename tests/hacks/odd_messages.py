"""Sends numbers and texts that a careless parent stumbles over."""
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
    model = honest(session)
    for odd in (
        10**4000,
        -(10**400),
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        {},
        "1",
        "\ud800",
    ):
        control().send({"event": "log", "step": odd, "loss": odd, "tokens": odd})
        control().send({"event": "log", "step": 1, "loss": odd})
        control().send({"event": odd})
    control().send({"event": "unconfined", "reason": "nothing will be measured any more"})
    control().send({"event": "ready"})
    control().send({})
    return model
