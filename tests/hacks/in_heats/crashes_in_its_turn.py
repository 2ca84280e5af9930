"""Raises in the middle of its training."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: crashed crash: ValueError: on purpose


def train(session, honest=train):
    done, steps = session.done, []

    def crash_at_the_tenth():
        steps.append(done())
        if len(steps) == 10:
            raise ValueError("on purpose")
        return steps[-1]

    session.done = crash_at_the_tenth
    return honest(session)
