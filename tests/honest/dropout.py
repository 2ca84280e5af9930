"""Dropout while it trains, none when it is scored; batch norm with running statistics."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Dropped(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.drop = nn.Dropout(0.2)
        self.norm = nn.BatchNorm1d(vocab_size)

    def forward(self, ids):
        return self.norm(self.drop(super().forward(ids)).transpose(1, 2)).transpose(1, 2)


def build_model(spec):
    return Dropped(spec.vocab_size)
