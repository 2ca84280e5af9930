"""Leaves no weights."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid weights

import sys


def leave(path):
    print(path)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
