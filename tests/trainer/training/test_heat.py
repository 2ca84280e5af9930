"""Heats: trainings that take turns, each on a clock of its own, however one of them behaves."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.measure import MACHINE, heat
from trainer.measure import measure as measure_one
from trainer.presets import BadSetting
from trainer.sandbox import confine, tree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
CONFINED = confine.available()[0] == "os"
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
BUDGET = 1.5

AGAIN = "\n\ndef train(session, honest=train):\n"
CRASHES = AGAIN + "    session.ready()\n    raise ValueError('on purpose')\n"
ENDS_EARLY = AGAIN + "    session.ready()\n    return build_model(session.spec)\n"
IGNORES_ITS_TURN = """
import time

def train(session, honest=train):
    session.ready()
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        pass
    return build_model(session.spec)
"""
TRAINS_IN_A_THREAD = """
import threading

def spin():
    while True:
        pass

def train(session, honest=train):
    threading.Thread(target=spin, daemon=True).start()
    return honest(session)
"""
FORKS = """
import os, time

def train(session, honest=train):
    if os.fork() == 0:
        os.setsid()
        while True:
            pass
    return honest(session)
"""
WAKES_ITSELF = """
import ctypes, signal, threading

class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int),
                ("rest", ctypes.c_char * 48)]

def spin():
    while True:
        pass

def train(session, honest=train):
    timer, event = ctypes.c_void_p(), Event(signo=signal.SIGCONT, notify=0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0:
        times = (ctypes.c_long * 4)(0, 15_000_000, 0, 15_000_000)
        libc.timer_settime(timer, 0, times, None)
        print("open: a timer that wakes a stopped process")
    threading.Thread(target=spin, daemon=True).start()
    return honest(session)
"""
ODD_NAME = """
import ctypes

def train(session, honest=train):
    ctypes.CDLL(None).prctl(15, b"\\xff) R (\\xff", 0, 0, 0)
    return honest(session)
"""
SLEEPS = """
import time

def train(session, honest=train):
    session.ready()
    time.sleep(1000)
"""
CLAIMS_TO_BE_DONE = """
import torch

def train(session, honest=train):
    session.ready()
    while True:
        session._emit({"event": "turn", "steps": 1, "trace": "no trace"})
"""


def processes_below(number: int) -> list[str]:
    """States of all threads below the fork server of a training."""
    pid = MACHINE.servers(2)[number].pid
    tasks = [t for p in psutil.Process(pid).children(recursive=True) for t in tree.threads(p.pid)]
    return [tree._state(task) for task in tasks]


@LINUX
@pytest.mark.parametrize(
    ("cheat", "status", "reason"),
    [
        ("", "ok", ""),
        (CRASHES, "crashed", "crash: ValueError: on purpose"),
        (ENDS_EARLY, "invalid", "movement"),
        (IGNORES_ITS_TURN, "invalid", "movement"),
        (TRAINS_IN_A_THREAD, "ok", ""),
        (FORKS, "ok", ""),
        (WAKES_ITSELF, "ok", ""),
        (ODD_NAME, "ok", ""),
        (SLEEPS, "overtime", "overtime"),
        (CLAIMS_TO_BE_DONE, "overtime", "overtime"),
    ],
    ids=[
        "honest",
        "crashes",
        "ends-early",
        "ignores",
        "thread",
        "forks",
        "wakes",
        "odd-name",
        "sleeps",
        "claims",
    ],
)
def test_only_one_trains_at_a_time_and_the_other_is_not_harmed(
    tiny_source: str, cheat: str, status: str, reason: str
) -> None:
    seen: list[set[str]] = []

    def look(event: dict[str, Any]) -> None:
        if event["event"] == "log" and event["training"] == 0:
            seen.append(set(processes_below(1)))

    champion, candidate = heat(
        [tiny_source, tiny_source + cheat], budget=f"{BUDGET}s", seed=3, on_event=look, **CPU
    )
    assert champion.status == "ok", champion.reason
    assert (candidate.status, candidate.reason[: len(reason)]) == (status, reason), candidate
    assert champion.how == candidate.how == "side by side"
    states = set().union(*seen)
    assert len(seen) > 3 and states <= set("TtZX")
    if cheat not in (CRASHES, ENDS_EARLY):  # they may be over before the champion's first turn
        assert "T" in states
    if CONFINED:
        assert "open:" not in candidate.output
    assert 0.8 * BUDGET < champion.train_seconds < BUDGET + 0.3
    assert candidate.train_seconds < BUDGET + 0.6
    deadline = time.monotonic() + 60
    while any(tree.usage(server.pid).processes for server in MACHINE.servers(2)):
        assert time.monotonic() < deadline, "something is left that does not end by itself"


def test_each_clock_replays_alone(tiny_source: str) -> None:
    for measured in heat([tiny_source] * 2, budget=f"{BUDGET}s", seed=[3, 4], **CPU):
        alone = measure_one(tiny_source, seed=measured.seed, trace=measured.trace, **CPU)
        assert alone.weights_sha256 == measured.weights_sha256
        assert alone.val_bpb == measured.val_bpb


def test_two_that_replay_one_clock_take_turns(tiny_source: str) -> None:
    """So that what the same steps take can be compared: here one sleeps in each of 40."""
    sleeps = """
import time

def train(session, honest=train):
    done = session.done
    session.done = lambda: time.sleep(0.03) or done()
    return honest(session)
"""
    recorded = measure_one(tiny_source + sleeps, budget="2s", seed=3, **CPU)
    plain, slow = heat(
        [tiny_source, tiny_source + sleeps], budget="2s", seed=3, trace=[recorded.trace] * 2, **CPU
    )
    assert plain.how == slow.how == "side by side"
    assert plain.weights_sha256 == slow.weights_sha256 == recorded.weights_sha256 != ""
    assert plain.trace == slow.trace == recorded.trace
    assert plain.steps == slow.steps > 20
    assert slow.train_seconds > plain.train_seconds + 0.015 * slow.steps


def test_one_replays_beside_another_that_does_not(tiny_source: str) -> None:
    recorded = measure_one(tiny_source, budget="1.5s", seed=3, **CPU)
    free, again = heat(
        [tiny_source] * 2, budget="1.5s", seed=3, trace=[None, recorded.trace], **CPU
    )
    assert again.weights_sha256 == recorded.weights_sha256 != free.weights_sha256
    assert (free.status, free.how) == ("ok", "side by side")


def test_a_crash_replays(tiny_source: str) -> None:
    """Side by side, in turn and alone."""
    late = (
        AGAIN
        + """
    done, asked = session.done, []
    session.done = lambda: done() or asked.append(session.progress()) or len(asked) > 70 and 1 / 0
    return honest(session)
"""
    )
    source = tiny_source + late
    _, beside = heat([tiny_source, source], budget="6s", seed=3, **CPU)
    _, after = heat([tiny_source, source], budget="400000tok", seed=3, **CPU)
    for crashed in (beside, after, measure_one(source, budget="6s", seed=3, **CPU)):
        again = measure_one(source, budget=crashed.budget, seed=3, trace=crashed.trace, **CPU)
        assert crashed.status == again.status == "crashed"
        assert crashed.reason == again.reason == "crash: ZeroDivisionError: division by zero"
        assert crashed.trace == again.trace != ""


def test_under_a_token_budget_nobody_takes_turns(tiny_source: str) -> None:
    first, second = heat([tiny_source] * 2, budget="40000tok", seed=3, **CPU)
    assert first.how == second.how == "in turn"
    assert (first.weights_sha256, first.val_bpb) == (second.weights_sha256, second.val_bpb)


def test_what_breaks_the_contract_is_refused_and_the_others_train(tiny_source: str) -> None:
    heard: set[tuple[str, int]] = set()
    broken, fine = heat(
        ["x = 1", tiny_source], budget="0.5s", **CPU,
        on_event=lambda event: heard.add((event["event"], event.get("training", -1))),
    )  # fmt: skip
    assert (broken.status, fine.status) == ("invalid", "ok")
    assert {("ready", 1), ("scoring", 1)} <= heard and not [n for _, n in heard if n == 0]


def test_computing_while_stopped_is_seen(tiny_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was done: here the parent's own stop does nothing."""
    monkeypatch.setattr(tree, "_is_stopped", lambda pid: True)
    monkeypatch.setattr(signal, "SIGSTOP", signal.SIGCONT)
    _, candidate = heat([tiny_source, tiny_source + TRAINS_IN_A_THREAD], budget="1.5s", **CPU)
    assert candidate.status == "invalid"
    assert "computed while stopped" in candidate.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": [1]}, "1 seeds for 2 files"),
        ({"seed": [1, -1]}, "seed -1"),
        ({"trace": ""}, "1 recorded clocks for 2 files"),
        ({"trace": [None] * 3}, "3 recorded clocks for 2 files"),
        ({"weights_to": [None]}, "1 places for weights of 2 files"),
        ({"split": "test"}, "only val is open"),
    ],
)
def test_impossible_heats(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        heat(["", ""], **options)


def test_none_and_too_many() -> None:
    for sources in ([], [""] * 9):
        with pytest.raises(BadSetting, match="give 1 to 8"):
            heat(sources)


@LINUX
def test_a_tree_is_seen_stopped_and_goes_on(tmp_path: Path) -> None:
    code = "import os, time\nos.fork()\nos.fork()\nprint('.', flush=True)\nwhile True: pass"
    with psutil.Popen([sys.executable, "-c", code], stdout=-1) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        try:
            stopped = tree.stop(process.pid, time.monotonic() + 60)
            assert len(stopped) == 3
            assert {tree._state(t) for p in stopped for t in tree.threads(p.pid)} == {"T"}
            used = tree.processor_seconds(process.pid, stopped)
            tree.resume(stopped)
            while tree.processor_seconds(process.pid, stopped) < used + 0.1:
                assert all(p.is_running() for p in stopped)
        finally:
            for child in (*process.children(recursive=True), process):
                child.kill()
