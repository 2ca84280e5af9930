"""A training file that cheats: it raises the logit of the next token by looking at that token.

Without an audit this model would score close to 0 bits per byte. Try it:

    python -m trainer --file examples/peek.py
"""

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


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    session.ready()
    source = next(s for s in session.data.sources.values() if s.in_domain)
    tokens, length = torch.from_numpy(source.tokens.astype("int64")), session.spec.seq_len
    step = 0
    while not session.done():
        at = torch.randint(len(tokens) - length, (8, 1)) + torch.arange(length + 1)
        rows = tokens[at].to(session.device)
        session.consumed(8 * length)
        ids, targets = rows[:, :-1], rows[:, 1:]
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        session.log(step, loss=loss.detach())
        step += 1
    return model
