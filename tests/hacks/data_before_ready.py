"""Wants the data before the clock runs."""

# expect: invalid contract


def train(session):
    next(iter(session.data.sources))
