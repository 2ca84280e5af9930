"""Raises what cannot be shown."""

# expect: crashed crash


class Evil(Exception):
    def __str__(self):
        raise self


def train(session):
    raise Evil
