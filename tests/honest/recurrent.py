"""A recurrent network."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Recurrent(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 16)
        self.cell = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, vocab_size)

    def forward(self, ids):
        return self.head(self.cell(self.embed(ids))[0])


def build_model(spec):
    return Recurrent(spec.vocab_size)
