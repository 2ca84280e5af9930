"""Works until it is scored; validation text is in the error."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-crash


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return [][ids.sum()]


def build_model(spec):
    return Odd(spec.vocab_size)
