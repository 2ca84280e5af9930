"""Reads from address zero."""

# expect: crashed crash

import ctypes


def train(session):
    ctypes.string_at(0)
