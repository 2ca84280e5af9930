"""Starts more processes than are allowed."""

# expect: invalid processes

import os
import time


def train(session):
    for _ in range(100):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(100)
            os._exit(0)
    session.ready()
    time.sleep(100)
