"""Wants the data before the clock runs."""

# expect: invalid contract


def train(session):
    list(session.data.sources)
