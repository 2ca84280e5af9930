"""Mixes all sources, those of another domain too, in equal shares."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Mixed:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    @property
    def data(self):
        return self

    def batches(self, rows, length):
        shares = dict.fromkeys(self._session.data.sources, 1.0)
        return self._session.data.batches(rows, length, mixture=shares)


def train(session, honest=train):
    return honest(Mixed(session))
