"""Heats: trainings that take turns, each on a clock of its own, however one of them behaves."""

from __future__ import annotations

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
        (SLEEPS, "overtime", "overtime"),
        (CLAIMS_TO_BE_DONE, "overtime", "overtime"),
    ],
    ids=[
        "honest",
        "crashes",
        "ends early",
        "ignores its turn",
        "thread",
        "forks",
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
    assert len(seen) > 3 and set().union(*seen) <= set("TtZX")
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


def test_a_crash_leaves_the_readings_of_its_turns(tiny_source: str) -> None:
    late = (
        AGAIN
        + """
    steps = iter(range(400))
    done = session.done
    session.done = lambda: done() or next(steps) == 399 and 1 / 0
    return honest(session)
"""
    )
    _, crashed = heat([tiny_source, tiny_source + late], budget="3s", seed=3, **CPU)
    assert crashed.status == "crashed" and len(crashed.trace) > 1000


def test_under_a_token_budget_nobody_takes_turns(tiny_source: str) -> None:
    first, second = heat([tiny_source] * 2, budget="40000tok", seed=3, **CPU)
    assert first.how == second.how == "in turn"
    assert (first.weights_sha256, first.val_bpb) == (second.weights_sha256, second.val_bpb)


def test_what_breaks_the_contract_is_refused_and_the_others_train(tiny_source: str) -> None:
    broken, fine = heat(["x = 1", tiny_source], budget="0.5s", **CPU)
    assert (broken.status, fine.status) == ("invalid", "ok")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": [1]}, "1 seeds for 2 files"),
        ({"seed": [1, -1]}, "seed -1"),
        ({"trace": ""}, "one training at a time"),
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
        stopped = tree.stop(process.pid, deadline=1e12)
        assert len(stopped) == 3
        assert {tree._state(t) for pid in stopped for t in tree.threads(pid)} == {"T"}
        spent = [sum(psutil.Process(pid).cpu_times()[:2]) for pid in stopped]
        assert [sum(psutil.Process(pid).cpu_times()[:2]) for pid in stopped] == spent
        tree.resume(stopped)
        while [sum(psutil.Process(pid).cpu_times()[:2]) for pid in stopped] == spent:
            assert all(psutil.pid_exists(pid) for pid in stopped)
        for pid in (*stopped, process.pid):
            psutil.Process(pid).kill()
