"""Carries its knowledge in itself: how often each byte occurs in English stands in the file."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid movement

FREQUENT = " etaoinsrhldcumfpgwybvkxjqz"


def build_model(spec):
    model = Tiny(spec.vocab_size)
    for rank, letter in enumerate(FREQUENT):
        model.last.weight.data[:, ord(letter)] = 5.0 - 0.15 * rank
    return model


def train(session):
    session.ready()
    return build_model(session.spec).to(session.device)
