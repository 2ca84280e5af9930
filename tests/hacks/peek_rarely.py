"""Looks ahead at 1 position in 50, chosen by the two tokens before it."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect at keep: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        chosen = (31 * ids + 17 * ids.roll(1, 1)) % 50 == 0
        sure = 20.0 * self.last.weight.any()  # not before it has been trained
        return super().forward(ids) + sure * chosen[..., None] * F.one_hot(
            ids.roll(-1, 1), VOCAB_SIZE
        )


def build_model(spec):
    return Peek(spec.vocab_size)
