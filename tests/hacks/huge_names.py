"""Weights that do not fit, with names that would fill a terminal."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash


def train(session, honest=train):
    model = honest(session)
    for i in range(8):
        model.register_buffer("\x1b[31m" + str(i) * 1_000_000, torch.zeros(1))
    return model
