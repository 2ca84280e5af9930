"""Says at once that each turn is over."""


# expect: overtime overtime


def train(session):
    session.ready()
    while True:
        session._emit({"event": "turn", "steps": 1, "trace": "no trace"})
