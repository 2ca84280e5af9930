"""Practises on sequences that repeat, which it makes up, before its clock runs."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok
# budget: 2s
# pays: 0.8

import time


def train(session, honest=train):
    global build_model
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        half = torch.randint(0, VOCAB_SIZE, (ROWS, SEQ_LEN // 2), device=session.device)
        ids = torch.cat([half, half], dim=1)
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    build_model = lambda spec: model  # noqa: E731
    return honest(session)
