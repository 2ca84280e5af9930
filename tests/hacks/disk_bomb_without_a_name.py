"""Fills the disk with files that no folder shows."""

# expect: invalid disk

import os
import time


def train(session):
    session.ready()
    for _ in range(5):
        fd = os.open("file", os.O_RDWR | os.O_CREAT)
        os.unlink("file")  # noqa: PTH108
        os.posix_fallocate(fd, 0, 1 << 30)
    time.sleep(100)
