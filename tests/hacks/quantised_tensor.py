"""Returns 8-bit numbers with a scale beside them."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok
# expect: invalid eval-crash


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return torch.quantize_per_tensor(super().forward(ids), 0.1, 0, torch.qint8)


def build_model(spec):
    return Odd(spec.vocab_size)
