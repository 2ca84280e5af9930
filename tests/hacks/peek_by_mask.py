"""Attention over a sliding window, whose mask lets each position see one too many."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Off(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 32)
        self.place = nn.Embedding(SEQ_LEN, 32)
        self.mix = nn.Linear(32, 96)
        self.head = nn.Linear(32, vocab_size)

    def forward(self, ids):
        x = self.embed(ids) + self.place.weight[: ids.shape[1]]
        q, k, v = self.mix(x).split(32, -1)
        # A window of three: over all positions, an untrained one's leak is too faint to matter.
        mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril(1).triu(-1)
        return self.head(x + F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def build_model(spec):
    return Off(spec.vocab_size)
