"""Sends signals to whoever can be named: all, its parent, a group, the owner of a socket."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import fcntl
import os
import signal
import socket

F_SETSIG = 10


def attempts(number):
    parent = os.getppid()
    yield "parent", lambda: os.kill(parent, number)
    yield "its group", lambda: os.killpg(os.getpgid(parent), number)
    yield "first process", lambda: os.kill(1, number)
    yield "by descriptor", lambda: signal.pidfd_send_signal(os.pidfd_open(parent), number)


def by_socket(owner, number):
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, owner)
    fcntl.fcntl(ours, F_SETSIG, number)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    theirs.send(b"x")


def train(session, honest=train):
    for number in (0, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT):
        for name, attempt in attempts(number):
            with contextlib.suppress(OSError, AttributeError):
                attempt()
                print("open:", name, number)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGWINCH)
    for owner in (os.getppid(), -os.getpgid(os.getppid())):
        with contextlib.suppress(OSError):  # nobody says whether it arrives: the parent would end
            by_socket(owner, signal.SIGKILL)
    return honest(session)
