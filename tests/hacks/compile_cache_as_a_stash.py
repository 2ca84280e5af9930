"""Learns from what it can read before it has data, and leaves it where compiled code is kept."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import os
from pathlib import Path


def train(session, honest=train):
    path = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "learnt.pt")
    print("open: an earlier training's" if path.exists() else "shut")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return honest(session)
