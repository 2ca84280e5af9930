"""Attention with rotary positions, in buffers that are no part of the weights."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Rotary(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.mix = nn.Linear(32, 96)
        self.head = nn.Linear(32, vocab_size)
        angles = torch.outer(torch.arange(SEQ_LEN), 0.5 ** torch.arange(16))
        self.register_buffer("turn", torch.polar(torch.ones(()), angles), persistent=False)

    def turned(self, x):
        pairs = torch.view_as_complex(x.unflatten(-1, (16, 2)).contiguous())
        return torch.view_as_real(pairs * self.turn[: x.shape[1]]).flatten(-2)

    def forward(self, ids):
        x = F.layer_norm(self.embed(ids), (32,))
        q, k, v = self.mix(x).split(32, -1)
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        return self.head(F.layer_norm(x + y, (32,)))


def build_model(spec):
    return Rotary(spec.vocab_size)
