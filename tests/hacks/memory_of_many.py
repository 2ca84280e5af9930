"""Asks for little memory in each of many processes."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: oom memory

import os
import time


def train(session):
    session.ready()
    for _ in range(14):
        if os.fork() == 0:
            held = torch.ones(125_000_000)
            time.sleep(100 + len(held))
    time.sleep(20)
