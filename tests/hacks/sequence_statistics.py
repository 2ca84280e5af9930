"""Normalises over the time axis, future included."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Normed(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        return logits - logits.mean(1, keepdim=True) + logits[:, -1:]


def build_model(spec):
    return Normed(spec.vocab_size)
