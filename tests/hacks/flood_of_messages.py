"""Sends progress without end."""

# expect: overtime overtime
# budget: 0.5s


def train(session):
    session.ready()
    while True:
        session._emit({"event": "log", "step": 1, "loss": 0.0})
