"""Wants the data before the clock runs."""

# expect: invalid contract


def train(session):
    session.data.batches(1, 8)
