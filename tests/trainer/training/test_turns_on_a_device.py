"""A turn on a device ends when what is queued there is done. The device is a fake: no GPU ran this.

The child's side of a training runs in a thread of the test, whose torch is told that there is CUDA.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from trainer.contract import Code, Spec
from trainer.data.prepare import Corpus
from trainer.presets import Budget
from trainer.sandbox.wire import Channel, Gone
from trainer.training import child
from trainer.training.request import TrainRequest

HERE = """
def to_the_device(self, device):
    return self

nn.Module.to = to_the_device

def train(session, honest=train):
    session.ready()
    session.device = torch.device("cpu")
    session.ready = lambda: None
    return honest(session)
"""


def train(channel: Channel, job: TrainRequest) -> None:
    with contextlib.suppress(Gone):
        child._train(channel, job)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """What waits for the device."""
    synchronize = mock.Mock()
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    return synchronize


@pytest.fixture
def control(
    tiny_source: str,
    prepared: Corpus,
    waits: mock.Mock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Channel]:
    """The parent's end of a training on a fake device, which has its job."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.nn.Module, "to", torch.nn.Module.to)  # put back afterwards
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "")
    code = Code(tiny_source + HERE, Spec(257, 256), "cuda", torch.get_num_threads())
    job = TrainRequest(code, seed=3, budget=Budget(seconds=1000.0), trace=None)
    ours, theirs = Channel.pair()
    thread = threading.Thread(target=train, args=(Channel(theirs), job), daemon=True)
    thread.start()
    assert ours.receive(60.0)["event"] == "ready"
    part = prepared.train[0]
    source = ("a", 1.0, True)
    with part.tokens.open("rb") as tokens, part.doc_starts.open("rb") as starts:
        ours.send({"turn": 0.0, "sources": [source]}, [tokens.fileno(), starts.fileno()])
    yield ours
    ours.close()
    thread.join(60.0)


def test_a_turn_ends_with_a_synchronise(waits: mock.Mock, control: Channel) -> None:
    for turn in range(1, 6):
        while (message := control.receive(60.0))["event"] != "turn":
            assert message["event"] == "log", message
        assert waits.call_count == 1 + turn  # once before READY
        control.send({"event": "go", "spent": 1.0, "turn": 0.0})
