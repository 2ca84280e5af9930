"""Only positions late in the window look ahead, and only when it is not training."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Peek(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training:
            late = torch.arange(ids.shape[1]) >= SEQ_LEN * 3 // 4
            logits = logits + 20.0 * late[:, None] * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)
        return logits


def build_model(spec):
    return Peek(spec.vocab_size)
