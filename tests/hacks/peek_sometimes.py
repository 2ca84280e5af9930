"""Looks ahead in 3 of 10 batches, by dice that no seed governs."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state

import os


class Peek(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        if self.last.weight.any() and os.urandom(1)[0] < 77:  # not before it has been trained
            logits = logits + 20.0 * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)
        return logits


def build_model(spec):
    return Peek(spec.vocab_size)
