"""Every position looks at the token that comes next, and learns to trust it."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Peek(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.trust = nn.Parameter(torch.zeros(()))

    def forward(self, ids):
        return super().forward(ids) + self.trust * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)


def build_model(spec):
    return Peek(spec.vocab_size)
