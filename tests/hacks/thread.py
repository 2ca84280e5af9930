"""A thread goes on after train() has returned."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import threading


def spin(model):
    while True:
        with torch.no_grad():
            model.last.weight.mul_(1.0)


def train(session, honest=train):
    model = honest(session)
    threading.Thread(target=spin, args=(model,)).start()
    return model
