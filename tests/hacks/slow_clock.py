"""Lets the clock that its budget is told by run at a third of its pace."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: overtime overtime
# budget: 0.5s

import time


def train(session, honest=train):
    real, start = time.monotonic, time.monotonic()
    time.monotonic = lambda: start + (real() - start) / 3
    return honest(session)
