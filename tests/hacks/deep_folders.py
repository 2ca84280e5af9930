"""Leaves folders that are too deep to look into, or to remove by recursion."""

# expect: invalid disk

import os
import time


def train(session):
    session.ready()
    for _ in range(1500):
        os.mkdir("d" * 20)  # noqa: PTH102
        os.chdir("d" * 20)
    time.sleep(100)
