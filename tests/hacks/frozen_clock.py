"""Stops the clock that its budget is told by."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: overtime overtime
# budget: 0.5s

import time


def train(session, honest=train):
    stopped = time.monotonic()
    time.monotonic = lambda: stopped
    return honest(session)
