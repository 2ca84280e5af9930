"""Leaves a pickle that runs code where the weights should be."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash

import os
import pickle
import sys


def leave(path):
    with open(path, "wb") as file:  # noqa: PTH123
        pickle.dump(Bomb(), file)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/autoresearch-cheat",)


def train(session, honest=train):
    sys.modules["trainer.training.child"].save_file = lambda weights, path: leave(path)
    return honest(session)
