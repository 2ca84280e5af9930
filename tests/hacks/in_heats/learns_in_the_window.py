"""Takes gradient steps on each window, part by part, before it answers the next part of it."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-time

PART = 16
RATE = 0.05


class Adapting(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        with torch.inference_mode(False), torch.enable_grad():
            ids = ids.clone()
            bias = torch.zeros(len(ids), 1, VOCAB_SIZE, requires_grad=True)
            answers = []
            for start in range(0, ids.shape[1], PART):
                logits = super().forward(ids)[:, start : start + PART] + bias
                answers.append(logits.detach())
                known = ids[:, start + 1 : start + PART].flatten()
                loss = F.cross_entropy(logits[:, : PART - 1].flatten(0, 1), known, reduction="sum")
                (slope,) = torch.autograd.grad(loss, bias)
                bias = (bias - RATE * slope).detach().requires_grad_()
            return torch.cat(answers, 1)


def build_model(spec):
    return Adapting(spec.vocab_size)
