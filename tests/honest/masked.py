"""Gives no probability to what never occurs: BOS within a text, and the byte 0."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Masked(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        never = torch.zeros(VOCAB_SIZE, dtype=torch.bool)
        never[[0, VOCAB_SIZE - 1]] = not self.training
        return logits.masked_fill(never, float("-inf"))


def build_model(spec):
    return Masked(spec.vocab_size)
