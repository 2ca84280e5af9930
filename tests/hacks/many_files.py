"""Fills the scratch folder with files."""

# expect: invalid disk

import time


def train(session):
    session.ready()
    for i in range(25_000):
        open(f"file{i}", "w").close()  # noqa: PTH123
    time.sleep(100)
