"""A recurrence over chunks of 16, causal between them and not within (karpathy/nanochat#844)."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Chunks(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.enter = nn.Embedding(vocab_size, 32)
        self.state = nn.GRU(32, 32, batch_first=True)
        self.leave = nn.Linear(32, vocab_size)

    def forward(self, ids):
        chunks = self.enter(ids).unflatten(1, (-1, 16)).mean(2)
        states, _ = self.state(chunks)
        return super().forward(ids) + self.leave(states).repeat_interleave(16, 1)


def build_model(spec):
    return Chunks(spec.vocab_size)
