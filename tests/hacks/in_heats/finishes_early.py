"""Takes a quarter of its time."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok


def train(session, honest=train):
    done = session.done
    session.done = lambda: done() or session.progress() > 0.25
    return honest(session)
