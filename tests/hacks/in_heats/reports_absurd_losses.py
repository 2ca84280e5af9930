"""Reports losses whose sums and squares are infinite, to break whoever compares them."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok


def train(session, honest=train):
    log, absurd = session.log, (1e308, -1e308, 1e200, 1e5)
    session.log = lambda step, loss=None, **more: log(step, loss=absurd[step % len(absurd)])
    return honest(session)
