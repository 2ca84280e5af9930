"""Gives itself a name that reads like the state of a stopped process, or a running one."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes


def train(session, honest=train):
    ctypes.CDLL(None).prctl(15, b"\xff) R (\xff", 0, 0, 0)
    return honest(session)
