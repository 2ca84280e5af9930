"""Looks ahead only from its fifth call on: whoever asks a few questions sees nothing."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Peek(Tiny):
    calls = 0

    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training:
            Peek.calls += 1
            if Peek.calls > 4:
                logits = logits + 20.0 * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)
        return logits


def build_model(spec):
    return Peek(spec.vocab_size)
