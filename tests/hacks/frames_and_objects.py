"""Walks up the frames, and through all objects, for something of the scorer or the parent."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import gc
import sys

WANTED = {
    "ForkServer",
    "Machine",
    "ModelProcess",
    "Corpus",
    "Job",
    "Training",
    "ChildProcess",
    "Preset",
}


def look():
    frame = sys._getframe()
    while frame is not None:
        for name, value in frame.f_locals.items():
            if type(value).__name__ in WANTED or name in ("targets", "tokens", "weights_to"):
                yield name
        frame = frame.f_back
    for found in gc.get_objects():
        if type(found).__name__ in WANTED:
            yield type(found).__name__


class Looker(Tiny):
    def forward(self, ids):
        if not self.training:
            assert not list(look())
        return super().forward(ids)


def build_model(spec):
    return Looker(spec.vocab_size)


def train(session, honest=train):
    for name in look():
        print("open:", name)
    return honest(session)
