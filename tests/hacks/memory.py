"""Remembers the validation text of earlier calls."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid state


class Memory(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.seen = {}

    def forward(self, ids):
        logits = super().forward(ids).clone()
        if self.training:
            return logits
        for row, window in enumerate(ids.tolist()):
            for t in range(2, len(window) - 1):
                key = tuple(window[t - 2 : t + 1])
                if key in self.seen:
                    logits[row, t, self.seen[key]] += 3.0
            for t in range(2, len(window) - 1):
                self.seen[tuple(window[t - 2 : t + 1])] = window[t + 1]
        return logits


def build_model(spec):
    return Memory(spec.vocab_size)
