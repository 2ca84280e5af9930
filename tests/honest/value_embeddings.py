"""Attention whose values come from an embedding of their own, with a gate for each head."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Values(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.values = nn.Embedding(vocab_size, 32)
        self.mix = nn.Linear(32, 64)
        self.gate = nn.Linear(32, 4)
        self.head = nn.Linear(32, vocab_size)

    def forward(self, ids):
        x = F.layer_norm(self.embed(ids), (32,))
        q, k = self.mix(x).unflatten(-1, (2, 4, 8)).permute(2, 0, 3, 1, 4)
        v = self.values(ids).unflatten(-1, (4, 8)).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        y = (y * self.gate(x).sigmoid()[..., None]).flatten(2)
        return self.head(F.layer_norm(x + y, (32,)))


def build_model(spec):
    return Values(spec.vocab_size)
