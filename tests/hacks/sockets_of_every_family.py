"""Asks for a socket of every family and kind that there is."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import socket


def train(session, honest=train):
    for family in range(64):
        for kind in range(1, 11):
            for protocol in (0, 1, 6, 17, 255):
                try:
                    socket.socket(family, kind, protocol)
                    print("open:", family, kind, protocol)
                except OSError:
                    pass
    return honest(session)
