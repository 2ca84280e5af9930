"""Returns complex numbers, whose imaginary part could hide from a check."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return torch.complex(super().forward(ids), torch.full((), float("inf")))


def build_model(spec):
    return Odd(spec.vocab_size)
