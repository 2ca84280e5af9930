"""Heats: trainings that take turns, each on a clock of its own, however one of them behaves."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

import trainer
from trainer.measure import heat
from trainer.measure import measure as measure_one
from trainer.presets import BadSetting
from trainer.sandbox import tree
from trainer.training.parent import Training
from trainer.training.process import ChildProcess

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
AGAIN = "\n\ndef train(session, honest=train):\n"


def test_each_clock_replays_alone(tiny_source: str) -> None:
    for measured in heat([tiny_source] * 2, budget="1.5s", seed=[3, 4], **CPU):
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


@pytest.mark.slow
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


@LINUX
def test_the_parent_killed_in_mid_heat_leaves_nothing(tiny_source: str, tmp_path: Path) -> None:
    """Neither the one whose turn it is nor those that are stopped."""
    file = tmp_path / "train.py"
    file.write_text(tiny_source)
    code = f"""
import psutil
from pathlib import Path
from trainer.measure import MACHINE, heat
def hear(event):
    if event["event"] == "log":
        servers = [psutil.Process(server.pid) for server in MACHINE.servers(3)]
        below = [child for server in servers for child in server.children(recursive=True)]
        print(*(process.pid for process in servers + below), flush=True)
source = Path({str(file)!r}).read_text()
heat([source] * 3, budget="300s", preset="cpu", device="cpu", on_event=hear)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(trainer.__file__).parents[1],
    ) as parent:
        assert parent.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
        parent.stdout.read()
    assert len(processes) == 6
    assert not psutil.wait_procs(processes, timeout=60)[1]


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


def test_what_ends_a_turn_late_does_not_end_the_next(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that a turn is over may come just when it has been cut off: here the first one."""
    late: list[Any] = []
    turns, ended, cut_off = Counter[int](), Counter[int](), Counter[int]()
    receive, run = ChildProcess.receive, Training.run

    def received(child: ChildProcess, *arguments: Any) -> Any:
        if late[:1] == [child] and len(late) > 1:
            return late.pop()
        message = receive(child, *arguments)
        if message is not None and message["event"] == "turn" and not late:
            late.extend([child, message])
            message = None
        cut_off[id(child)] += message is None
        ended[id(child)] += message is not None and message["event"] == "turn"
        return message

    def counted(training: Training, turn_seconds: float | None) -> None:
        turns[id(training._child)] += 1
        run(training, turn_seconds)

    monkeypatch.setattr(ChildProcess, "receive", received)
    monkeypatch.setattr(Training, "run", counted)
    measured = heat([tiny_source] * 2, budget="1.5s", seed=3, **CPU)
    assert [one.status for one in measured] == ["ok", "ok"]
    assert len(turns) == 2 and cut_off[id(late[0])] > 0
    for child in turns:  # the last one ends with the weights
        assert turns[child] <= cut_off[child] + ended[child] + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": [1]}, "1 seeds for 2 files"),
        ({"seed": [1, -1]}, "seed -1"),
        ({"trace": ""}, "1 recorded clocks for 2 files"),
        ({"trace": [None] * 3}, "3 recorded clocks for 2 files"),
        ({"weights_to": [None]}, "1 places for weights of 2 files"),
        ({"split": "train"}, "there is val, and test"),
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
@pytest.mark.process
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


@pytest.mark.slow
def test_who_begins_is_drawn_by_lot(tiny_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins first is a little slower to the end, so it must not always be the champion."""
    first = []
    for lot in (0, 1, 2):
        began: list[int] = []

        def hear(event: dict[str, Any], began: list[int] = began) -> None:
            if event["event"] == "ready":
                began.append(event["training"])

        monkeypatch.setattr(secrets, "randbits", lambda bits, lot=lot: lot)
        heat([tiny_source, tiny_source], budget="0.5s", seed=1, on_event=hear, **CPU)
        assert sorted(began) == [0, 1]
        first.append(began[0])
    assert first == [random.Random(lot).sample([0, 1], 2)[0] for lot in (0, 1, 2)]
    assert set(first) == {0, 1}
