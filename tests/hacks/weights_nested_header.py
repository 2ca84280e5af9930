"""The header of the weights is nested deeper than a parser can follow."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash

import sys
from pathlib import Path


def leave(path):
    header = b'{"a":' + b"[" * 4_000_000
    Path(path).write_bytes(len(header).to_bytes(8, "little") + header)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
