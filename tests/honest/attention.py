"""Causal attention with tied embeddings."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Attention(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.place = nn.Embedding(SEQ_LEN, 32)
        self.mix = nn.Linear(32, 96)
        self.head = nn.Linear(32, vocab_size, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids) + self.place.weight[: ids.shape[1]]
        q, k, v = self.mix(x).view(*ids.shape, 4, 24).transpose(1, 2).split(8, -1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + y.transpose(1, 2).flatten(2))


def build_model(spec):
    return Attention(spec.vocab_size)
