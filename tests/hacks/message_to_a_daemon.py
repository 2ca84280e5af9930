"""Sends a message from one end of a socketpair to a daemon that listens on a path."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import socket


def train(session, honest=train):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        for attempt in (
            lambda end: end.sendto(b"hello", "@daemon@"),
            lambda end: end.connect("@daemon@"),
            lambda end: end.connect("\0@daemon@"),
        ):
            with contextlib.suppress(OSError):
                one, other = socket.socketpair(socket.AF_UNIX, kind)
                with one, other:
                    attempt(one)
                    print("open:", kind)
    return honest(session)
