"""A process of its own computes on, in another session."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import os


def train(session, honest=train):
    if os.fork() == 0:
        os.setsid()
        while True:
            pass
    return honest(session)
