"""Keeps a snapshot in a file, relative and temporary paths included."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)

import tempfile
from pathlib import Path


def train(session, honest=train):
    model = honest(session)
    torch.save(model.state_dict(), "snapshot.pt")
    with tempfile.NamedTemporaryFile() as file:
        file.write(Path("snapshot.pt").read_bytes())
    model.load_state_dict(torch.load("snapshot.pt"))
    return model
