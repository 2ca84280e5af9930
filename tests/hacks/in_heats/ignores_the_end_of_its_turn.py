"""Asks for the time once, then trains for most of its budget in one go."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import time


def train(session, honest=train):
    session.ready()
    session.done()
    end = time.monotonic() + 1.2
    session.ready = lambda: None
    session.done = lambda: time.monotonic() > end
    return honest(session)
