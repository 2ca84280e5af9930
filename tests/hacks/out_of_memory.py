"""Asks for more memory than there is."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: oom memory


def train(session):
    return torch.zeros(1 << 50)
