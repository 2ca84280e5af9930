"""The next token gets a hundredth of a nat more than it deserves."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        return super().forward(ids) + 0.02 * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)


def build_model(spec):
    return Peek(spec.vocab_size)
