"""Looks ahead at the first four positions only, where a guess is worst and few audits look."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect at keep: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        early = torch.arange(ids.shape[1]) < 4
        sure = 20.0 * self.last.weight.any()  # not before it has been trained
        return super().forward(ids) + sure * early[:, None] * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)


def build_model(spec):
    return Peek(spec.vocab_size)
