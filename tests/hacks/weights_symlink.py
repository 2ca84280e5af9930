"""Leaves a link to another file where the weights should be."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid weights

import os
import sys


def leave(path):
    os.symlink("/etc/passwd", path)  # noqa: PTH211


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
