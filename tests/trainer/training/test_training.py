"""What the trusted parent does around one training; results are in test_measure."""

import select
from dataclasses import replace
from typing import Any

import psutil
import pytest

from trainer import presets
from trainer.measure import MACHINE, measure
from trainer.presets import Preset, find_preset, load_presets
from trainer.sandbox.wire import Channel
from trainer.training import compile_cache, machine, process


def test_it_does_not_start_beside_what_another_left(tiny_source: str) -> None:
    server = MACHINE.server()
    channel, theirs = Channel.pair()
    with theirs:
        left = server.spawn("train", [theirs.fileno()])
    told: list[dict[str, Any]] = []

    measured = measure(
        tiny_source, budget="2000tok", preset="cpu", device="cpu", on_event=told.append
    )

    (note,) = (event["text"] for event in told if event["event"] == "note")
    assert "left-over: 1 processes of an earlier training" in note
    assert not psutil.pid_exists(left)
    assert measured.status == "ok"
    channel.close()


def test_one_that_returns_early_says_what_it_took_and_replays(tiny_source: str) -> None:
    loop = "while not session.done()"
    early = tiny_source.replace(loop, f"{loop} and session.progress() < 0.5")
    how: dict[str, Any] = {"seed": 3, "preset": "cpu", "device": "cpu"}
    timed = measure(early, budget="1s", **how)
    assert timed.spent == pytest.approx(timed.train_seconds, abs=1e-3)
    half = measure(early, budget="40000tok", **how)
    assert (half.status, half.spent) == ("ok", half.tokens / 40_000)
    assert 0.5 <= half.spent < 0.6
    again = measure(early, budget="40000tok", trace=half.trace, **how)
    assert again.weights_sha256 == half.weights_sha256 != ""
    assert (again.val_bpb, again.trace) == (half.val_bpb, half.trace)


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


@pytest.mark.parametrize("preset", load_presets().values(), ids=lambda preset: preset.name)
def test_the_largest_weights_fit_into_scratch_and_memory(preset: Preset) -> None:
    """Beside what was compiled: the folder of that, and its archive."""
    weights_mb = preset.weights_bytes >> 20
    assert weights_mb >= 4 * preset.max_params >> 20
    assert preset.scratch_mb >= weights_mb + 2 * (compile_cache.MAX_BYTES >> 20)
    assert preset.scratch_mb >= 2 * weights_mb, "scoring holds a copy"
    assert preset.memory_mb >= 2 * weights_mb, "handing over makes a copy"


def test_a_preset_of_larger_models_has_more_scratch(tiny_source: str, monkeypatch) -> None:
    """More than fits beside small weights: 300 MB where 100 MB of room are left for the rest."""
    monkeypatch.setattr(presets, "SCRATCH_ROOM_MB", 100)
    writes = """
import os

def train(session, honest=train):
    file = os.open("snapshot", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(file, 0, 300 << 20)
    return honest(session)
"""
    cpu = find_preset("cpu")
    said = {}
    for params in (1_000_000, 50_000_000):
        sized = replace(cpu, max_params=params)
        monkeypatch.setattr(machine, "find_preset", lambda *_, sized=sized: sized)
        measured = measure(tiny_source + writes, budget="2000tok", preset="cpu", device="cpu")
        said[params] = (measured.status, measured.reason[:10])
    assert said[50_000_000] == ("ok", "")
    assert said[1_000_000][0] == "crashed"  # the file is too large for it
