"""Imports parts of the standard library and of torch when it needs them."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


def train(session, honest=train):
    import concurrent.futures
    import sqlite3
    import wave
    import xml.dom.minidom

    import torch.distributions
    import torch.utils.checkpoint
    from torch.optim import swa_utils

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
    assert xml.dom.minidom.parseString("<a/>").documentElement.tagName == "a"
    assert torch.distributions.Categorical(logits=torch.zeros(2)).sample() < 2
    layer = nn.Linear(2, 2)
    torch.utils.checkpoint.checkpoint(layer, torch.ones(1, 2), use_reentrant=False).sum().backward()
    assert wave.Error and sqlite3.sqlite_version and swa_utils.AveragedModel(layer)
    return honest(session)
