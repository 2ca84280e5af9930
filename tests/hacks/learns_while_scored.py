"""Trains on the validation text that it is asked about."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Learner(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.register_buffer("seen", torch.zeros(vocab_size, vocab_size))

    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training:
            logits = logits + 0.5 * (1 + self.seen[ids]).log()
            pairs = (ids[:, :-1].flatten(), ids[:, 1:].flatten())
            self.seen.index_put_(pairs, torch.ones(()), accumulate=True)
        return logits


def build_model(spec):
    return Learner(spec.vocab_size)
