"""Has no embedding: reads bytes as their bits and as one-hot vectors."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Bits(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.of_bits = nn.Linear(9, 32)
        self.of_bytes = nn.Linear(vocab_size, 32, bias=False)
        self.head = nn.Linear(32, vocab_size)

    def forward(self, ids):
        bits = (ids[..., None] >> torch.arange(9)) & 1
        before = F.one_hot(F.pad(ids, (1, 0))[:, :-1], VOCAB_SIZE).float()
        return self.head((self.of_bits(bits.float()) + self.of_bytes(before)).tanh())


def build_model(spec):
    return Bits(spec.vocab_size)
