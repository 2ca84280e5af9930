"""Looks ahead in 3 of 10 windows, chosen by what the window begins with."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        chosen = ids[:, :4].sum(1) % 10 < 3
        peeked = 20.0 * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)
        return super().forward(ids) + chosen[:, None, None] * peeked


def build_model(spec):
    return Peek(spec.vocab_size)
