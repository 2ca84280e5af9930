"""Leaves more weights than are allowed."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid weights

import sys


def leave(path):
    with open(path, "wb") as file:  # noqa: PTH123
        file.truncate(3 << 30)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
