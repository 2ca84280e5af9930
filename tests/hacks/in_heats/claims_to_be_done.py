"""Says at once that each turn is over."""


# expect: overtime overtime

import inspect


def train(session):
    session.ready()
    channel = inspect.getclosurevars(session._emit).nonlocals["control"]
    while True:
        channel.send({"event": "turn", "steps": 1, "trace": "no trace"})
