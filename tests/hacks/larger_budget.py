"""Finds the budget among all objects and makes it larger."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: overtime overtime
# budget: 0.5s

import gc


class Rich:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def ready(self):
        self._session.ready()
        gc.unfreeze()  # what was there at READY is hidden from it otherwise
        for found in gc.get_objects():
            if type(found).__name__ == "Clock":
                object.__setattr__(found.budget, "seconds", 1000.0)


def train(session, honest=train):
    return honest(Rich(session))
