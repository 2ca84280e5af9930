"""The first token of a row is what the row before it in the batch should end with."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Neighbour(Tiny):
    def forward(self, ids):
        logits = super().forward(ids).clone()
        if not self.training:
            logits[:-1, -8:] += 20.0 * F.one_hot(ids[1:, :1], VOCAB_SIZE)
        return logits


def build_model(spec):
    return Neighbour(spec.vocab_size)
