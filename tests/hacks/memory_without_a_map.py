"""Keeps memory in files that no process maps and no folder shows."""

# expect: oom memory

import os
import time


def train(session):
    session.ready()
    for i in range(16):
        os.posix_fallocate(os.memfd_create(f"file{i}"), 0, 500 << 20)
    time.sleep(100)
