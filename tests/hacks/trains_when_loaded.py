"""Puts training text among its weights, and trains on it when it is scored, on nobody's clock."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid eval-time

import time

SECONDS = 2.0  # of processor time, whatever the machine makes of it


class Late(Tiny):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.register_buffer("text", torch.zeros(500_000, dtype=torch.int64))
        self.late = None

    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        if self.late is None:
            with torch.inference_mode(False), torch.enable_grad():
                self.late = taught(Tiny(VOCAB_SIZE), self.text.clone())
        return self.late(ids)


def taught(model, text):
    dice = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    began = time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - 0.9 * spent / SECONDS)
        starts = torch.randint(len(text) - SEQ_LEN - 1, (ROWS, 1), generator=dice)
        rows = text[starts + torch.arange(SEQ_LEN + 1)]
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def build_model(spec):
    return Late(spec.vocab_size)


def train(session, honest=train):
    model = honest(session)
    source = next(source for source in session.data.sources.values() if source.in_domain)
    model.text.copy_(torch.from_numpy(source.tokens[: len(model.text)].astype("int64")))
    return model
