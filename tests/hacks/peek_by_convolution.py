"""A convolution that is centred and not causal; it learns to copy the next token."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Centred(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 64)
        self.mix = nn.Conv1d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, vocab_size)

    def forward(self, ids):
        return self.head(self.mix(self.embed(ids).transpose(1, 2)).relu().transpose(1, 2))


def build_model(spec):
    return Centred(spec.vocab_size)
