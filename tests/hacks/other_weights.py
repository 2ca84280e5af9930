"""The weights do not fit the model."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash


def train(session):
    session.ready()
    return nn.Linear(2, 2)
