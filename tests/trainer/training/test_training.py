"""What the trusted parent does around one training; results are in test_measure."""

import select
from typing import Any

import psutil
import pytest

from trainer.measure import MACHINE, measure
from trainer.sandbox.wire import Channel
from trainer.training import process


def test_it_does_not_start_beside_what_another_left(tiny_source: str) -> None:
    server = MACHINE.server()
    channel, theirs = Channel.pair()
    with theirs:
        left = server.spawn("train", [theirs.fileno()])

    refused = measure(tiny_source, budget="2000tok", preset="cpu", device="cpu")

    assert refused.status == "killed"
    assert refused.reason.startswith("left-over: 1 processes of an earlier training")
    assert not psutil.pid_exists(left)
    assert measure(tiny_source, budget="2000tok", preset="cpu", device="cpu").status == "ok"
    channel.close()


def test_a_slow_look_at_the_totals_does_not_stretch_the_clock(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training could make it slow with many files or processes, and hand over late meanwhile."""
    late = """
import time

def train(session):
    session.ready()
    time.sleep(1.5)
    return build_model(session.spec)
"""

    heard: list[str] = []

    def slow(child: Any) -> None:
        if "ready" in heard:
            select.select([child._channel], [], [])

    monkeypatch.setattr(process.ChildProcess, "_watch", slow)
    measured = measure(
        tiny_source + late, budget="0.5s", preset="cpu", device="cpu",
        on_event=lambda event: heard.append(event["event"]),
    )  # fmt: skip
    assert measured.status == "overtime"
