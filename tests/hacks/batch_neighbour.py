"""Each row learns what is frequent in the other rows of its batch."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Neighbour(Tiny):
    def forward(self, ids):
        counts = F.one_hot(ids, VOCAB_SIZE).float().mean((0, 1))
        return super().forward(ids) + 5 * (counts + 1e-3).log()


def build_model(spec):
    return Neighbour(spec.vocab_size)
