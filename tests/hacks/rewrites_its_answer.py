"""A thread goes on writing to the logits after they have been handed over."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok
# expect: invalid state
# expect: invalid causality
# expect: invalid non-finite

import gc
import threading


class Restless(Tiny):
    started = False

    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training and not Restless.started:
            Restless.started = True
            size = SEQ_LEN * VOCAB_SIZE
            tensors = [x for x in gc.get_objects() if torch.is_tensor(x) and x.dim() == 2]
            shared = next(x for x in tensors if len(x) == 2 and x[0].numel() >= size)
            slots = shared.view(2, -1, VOCAB_SIZE)
            threading.Thread(target=rewrite, args=(slots,), daemon=True).start()
        return logits


def rewrite(shared):
    while True:
        shared.fill_(-1e30)
        shared[..., :128] = 1e30


def build_model(spec):
    return Restless(spec.vocab_size)
