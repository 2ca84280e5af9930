"""Leaves a pipe that nobody writes to where the weights should be."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid weights

import os
import sys


def leave(path):
    os.mkfifo(path)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
