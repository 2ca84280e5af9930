"""Fills the disk."""

# expect: invalid disk

import os
import time


def train(session):
    session.ready()
    for i in range(5):
        os.posix_fallocate(os.open(f"file{i}", os.O_RDWR | os.O_CREAT), 0, 1 << 30)
    time.sleep(100)
