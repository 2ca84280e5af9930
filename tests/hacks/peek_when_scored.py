"""Looks up its callers for the role it is in, and answers the scorer with another model."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality

import sys


class Peek(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_name == "_answer":
                sure = 20.0 * self.last.weight.any()  # not before it has been trained
                return logits + sure * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)
            frame = frame.f_back
        return logits


def build_model(spec):
    return Peek(spec.vocab_size)
