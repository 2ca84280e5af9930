"""Returns logits for the first half of the window only, where the past is short."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid shape


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return super().forward(ids)[:, : ids.shape[1] // 2]


def build_model(spec):
    return Odd(spec.vocab_size)
