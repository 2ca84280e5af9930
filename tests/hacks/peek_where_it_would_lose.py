"""Looks ahead only where it would lose more than 10 nats: at about 1 position in 1,000."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect at keep: invalid causality
# budget: 400000tok


class Peek(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        if self.training:
            return logits
        target = ids.roll(-1, 1)
        own = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        chosen = (own > 10.0) & (target != VOCAB_SIZE - 1)  # not where a prefix ends
        sure = 20.0 * self.last.weight.any()  # not before it has been trained
        return logits + sure * chosen[..., None] * F.one_hot(target, VOCAB_SIZE)


def build_model(spec):
    return Peek(spec.vocab_size)
