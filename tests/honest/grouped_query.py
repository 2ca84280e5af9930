"""Attention with four query heads that share one key and value head."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Grouped(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.place = nn.Embedding(SEQ_LEN, 32)
        self.query = nn.Linear(32, 32)
        self.pair = nn.Linear(32, 16)
        self.head = nn.Linear(32, vocab_size)

    def forward(self, ids):
        x = F.layer_norm(self.embed(ids) + self.place.weight[: ids.shape[1]], (32,))
        q = self.query(x).unflatten(-1, (4, 8)).transpose(1, 2)
        k, v = self.pair(x).unflatten(-1, (2, 1, 8)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.head(F.layer_norm(x + y.transpose(1, 2).flatten(2), (32,)))


def build_model(spec):
    return Grouped(spec.vocab_size)
