"""Goes on training after its time and will not be asked to stop."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: overtime overtime
# budget: 0.5s

import signal


class Forever:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def done(self):
        return False


def train(session, honest=train):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return honest(Forever(session))
