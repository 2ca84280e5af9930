"""Answers the scorer with a score in place of logits."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash

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


class Liar(Tiny):
    def forward(self, ids):
        if not self.training:
            control().send({"event": "score", "val_bpb": 0.0001, "leak_bound_bpb": 0.0})
        return super().forward(ids)


def build_model(spec):
    return Liar(spec.vocab_size)
