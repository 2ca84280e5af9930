"""Says that it is done, while a process that it left trains on and writes the weights later."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid weights
# budget: 0.5s

import os
import sys
import time


class Endless:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def done(self):
        return time.monotonic() > self.start + 2.0

    def ready(self):
        self._session.ready()
        self.start = time.monotonic()


def train(session, honest=train):
    child = sys.modules["trainer.training.child"]
    save, child.save_file = child.save_file, lambda weights, path: None
    torch.set_num_threads(1)
    longer = Endless(session)
    longer.ready()
    longer.ready = lambda: None
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("pid", os.getpid())
            save(dict(honest(longer).state_dict()), "weights.safetensors")
        os._exit(0)
    return build_model(session.spec)
