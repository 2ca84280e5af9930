"""A tensor of one number that says of itself that it is all the logits."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid movement


class Lying(torch.Tensor):
    @property
    def shape(self):
        return torch.Size(self.said)


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        answer = torch.zeros(1).as_subclass(Lying)
        answer.said = (*ids.shape, VOCAB_SIZE)
        return answer


def build_model(spec):
    return Odd(spec.vocab_size)
