"""Filters the sequence in the frequency domain, where nothing keeps a filter from looking ahead
(karpathy/nanochat#844)."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid causality


class Spectral(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.enter = nn.Embedding(vocab_size, 32)
        self.response = nn.Parameter(torch.ones(SEQ_LEN // 2 + 1, 32, 2) * 0.1)
        self.leave = nn.Linear(32, vocab_size)

    def forward(self, ids):
        spectrum = torch.fft.rfft(self.enter(ids), dim=1) * torch.view_as_complex(self.response)
        return super().forward(ids) + self.leave(torch.fft.irfft(spectrum, n=SEQ_LEN, dim=1))


def build_model(spec):
    return Spectral(spec.vocab_size)
