"""Prints without end, from several processes."""

# expect: overtime overtime
# budget: 0.5s

import os


def train(session):
    session.ready()
    for _ in range(4):
        if os.fork() == 0:
            break
    while True:
        os.write(1, b"x" * 65536)
