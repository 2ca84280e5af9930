"""The header of the weights says that it is longer than any memory."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash

import sys
from pathlib import Path


def leave(path):
    Path(path).write_bytes((1 << 62).to_bytes(8, "little") + b"{" * 1000)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
