"""Gives every token a probability near 1, which a scorer that trusts log-probabilities believes."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid movement


class Sure(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return super().forward(ids) * 0.0 - 1e-6


def build_model(spec):
    return Sure(spec.vocab_size)
