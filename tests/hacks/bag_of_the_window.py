"""Each position knows how often each token occurs in the whole window."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Bag(Tiny):
    def forward(self, ids):
        counts = F.one_hot(ids, VOCAB_SIZE).float().mean(1, keepdim=True)
        return super().forward(ids) + (counts + 1e-4).log()


def build_model(spec):
    return Bag(spec.vocab_size)
