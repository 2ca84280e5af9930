"""Looks ahead everywhere, but in 1 window of 30 only, chosen by what it begins with."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect at keep: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        chosen = ids[:, :4].sum(1) % 30 == 0
        sure = 20.0 * self.last.weight.any()  # not before it has been trained
        return super().forward(ids) + sure * chosen[:, None, None] * F.one_hot(
            ids.roll(-1, 1), VOCAB_SIZE
        )


def build_model(spec):
    return Peek(spec.vocab_size)
