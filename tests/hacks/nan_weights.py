"""One weight is not a number."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid non-finite


def train(session, honest=train):
    model = honest(session)
    with torch.no_grad():
        model.last.weight[32] = float("nan")
    return model
