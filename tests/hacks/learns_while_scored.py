"""Trains on the validation text that it is asked about."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Learner(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training:
            with torch.inference_mode():
                logits = logits.clone()
                self.last.weight.index_put_(
                    (ids[:, :-1].flatten(), ids[:, 1:].flatten()),
                    torch.tensor(0.5),
                    accumulate=True,
                )
        return logits


def build_model(spec):
    return Learner(spec.vocab_size)
