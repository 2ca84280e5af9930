"""Attention, an MLP and a head of its own."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Untied(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.place = nn.Embedding(SEQ_LEN, 32)
        self.mix = nn.MultiheadAttention(32, 4, batch_first=True)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, vocab_size, bias=False)

    def forward(self, ids):
        length = ids.shape[1]
        x = F.layer_norm(self.embed(ids) + self.place.weight[:length], (32,))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = x + self.mix(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]
        return self.head(F.layer_norm(x + self.down(self.up(x).tanh()), (32,)))


def build_model(spec):
    return Untied(spec.vocab_size)
