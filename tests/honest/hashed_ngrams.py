"""Adds up what is learnt about hashes of the last one, two and three tokens."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)

BUCKETS = 4096


class Hashed(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(BUCKETS, vocab_size) for _ in range(3))
        for table in self.tables:
            nn.init.zeros_(table.weight)

    def forward(self, ids):
        logits, key = 0.0, torch.zeros_like(ids)
        for back, table in enumerate(self.tables):
            key = (key * 1_000_003 + F.pad(ids, (back, 0))[:, : ids.shape[1]] + 1) % 2**31
            rows = table((key % BUCKETS).flatten()[:, None])
            logits = logits + rows.view(*ids.shape, -1)
        return logits


def build_model(spec):
    return Hashed(spec.vocab_size)
