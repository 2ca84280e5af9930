"""A training file that cheats: it raises the logit of the next token by looking at that token.

Without an audit this model would score close to 0 bits per byte. Try it:

    python -m trainer --file examples/peek.py
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

VOCAB_SIZE = 2048
SEQ_LEN = 256


class Peek(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 64)
        self.head = nn.Linear(64, vocab_size)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        future = ids.roll(-1, dims=1)  # the cheat: position t sees token t + 1
        return self.head(self.embed(ids)) + 20.0 * F.one_hot(future, self.head.out_features)


def build_model(spec):
    return Peek(spec.vocab_size)


def rows(session, count):
    """Windows of the first source at random places."""
    length = session.spec.seq_len
    tokens = next(iter(session.data.sources.values())).tokens
    random = np.random.default_rng(session.seed)
    while True:
        starts = random.integers(0, len(tokens) - length, count)
        batch = np.stack([tokens[start : start + length + 1] for start in starts])
        batch = torch.from_numpy(batch.astype(np.int64)).to(session.device)
        session.consumed(count * length)
        yield batch[:, :-1], batch[:, 1:]


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    session.ready()
    batches = rows(session, 8)
    step = 0
    while not session.done():
        ids, targets = next(batches)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        session.log(step, loss=loss.detach())
        step += 1
    return model
