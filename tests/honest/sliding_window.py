"""Attention that sees no further back than 16 tokens."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)

REACH = 16


class Sliding(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.mix = nn.Linear(32, 96)
        self.distance = nn.Parameter(torch.zeros(REACH))
        self.head = nn.Linear(32, vocab_size)

    def forward(self, ids):
        x = F.layer_norm(self.embed(ids), (32,))
        places = torch.arange(ids.shape[1])
        behind = places[:, None] - places
        seen = (behind >= 0) & (behind < REACH)
        bias = self.distance[behind.clamp(0, REACH - 1)].masked_fill(~seen, float("-inf"))
        q, k, v = self.mix(x).split(32, -1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.head(F.layer_norm(x + y, (32,)))


def build_model(spec):
    return Sliding(spec.vocab_size)
