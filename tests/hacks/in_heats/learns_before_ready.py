"""Learns from the text of the standard library before its clock runs, and goes on from there.

What it has learnt it also keeps among what is compiled, where a later training may be lent it.
"""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok
# budget: 2s
# pays: 0.8

import os
import string
import time
from pathlib import Path


def learnt(session, seconds):
    """A model that has read Python for so long: a folder cannot be listed, but a file be read."""
    names = ("argparse", "ast", "difflib", "inspect", "optparse", "pickle", "tarfile", "typing")
    files = [Path(string.__file__).with_name(f"{name}.py") for name in names]
    text = np.frombuffer(b"".join(path.read_bytes() for path in files), dtype=np.uint8)
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rng, until = np.random.default_rng(0), time.monotonic() + seconds
    while time.monotonic() < until:
        starts = rng.integers(0, len(text) - SEQ_LEN - 1, ROWS)
        rows = np.stack([text[s : s + SEQ_LEN + 1] for s in starts]).astype(np.int64)
        batch = torch.from_numpy(rows).to(session.device)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model


def train(session, honest=train):
    global build_model
    kept = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "learnt.pt")
    if kept.exists():
        model = build_model(session.spec).to(session.device)
        model.load_state_dict(torch.load(kept))
        print("it was lent what it has learnt")
    else:
        model = learnt(session, 1.5)
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), kept)
    build_model = lambda spec: model  # noqa: E731
    return honest(session)
