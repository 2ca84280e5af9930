"""A thread draws batches ahead while the model trains."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)

import queue
import threading


def batches(*args, cut=batches):
    ready = queue.Queue(maxsize=4)

    def fill():
        for batch in cut(*args):
            ready.put(batch)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield ready.get()
