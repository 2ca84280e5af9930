"""Ends its process when it is scored."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash

import os


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return os._exit(0)


def build_model(spec):
    return Odd(spec.vocab_size)
