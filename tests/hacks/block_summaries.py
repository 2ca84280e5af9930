"""Each block of 64 positions has a mean that all its positions see (karpathy/nanochat#844)."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Blocks(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.summary = nn.Embedding(vocab_size, vocab_size)
        nn.init.zeros_(self.summary.weight)

    def forward(self, ids):
        means = self.summary(ids).unflatten(1, (-1, 64)).mean(2)
        return super().forward(ids) + means.repeat_interleave(64, 1)


def build_model(spec):
    return Blocks(spec.vocab_size)
