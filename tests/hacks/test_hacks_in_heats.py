"""Training files that cheat in a heat: each is named or gains nothing, and harms no neighbour.

A file in ``in_heats`` is appended to tests/tiny_train.py and trained side by side with the honest
one. Its head says what must come of it, as in the files beside this one; ``memory_mb`` is a limit,
``pays`` how many seconds of its budget its start-up must have cost it.
"""

import json
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from trainer import presets
from trainer.measure import MACHINE, check, heat, measure
from trainer.sandbox import confine, tree
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.client import ForkServer
from trainer.training import machine

FILES = sorted((Path(__file__).parent / "in_heats").glob("*.py"))
CONFINED = confine.available()[0] == "os"
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
BUDGET = 1.5
COMPUTES = ("trains_in_a_thread", "forks_beside_its_turn", "wakes_itself", "hides_its_state")
"""What would go on if it were not stopped."""
USUAL = (
    "takes_the_memory", "wakes_itself", "sleeps_through_its_turns", "learns_before_ready",
    "forks_beside_its_turn", "ignores_the_end_of_its_turn",
)  # fmt: skip
"""One of each way to cheat in a heat; the others are slow tests."""

pytestmark = [
    pytest.mark.process,
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def is_frozen(server: ForkServer) -> bool:
    events = [folder / "cgroup.events" for folder in server.cgroup.folders]
    return any("frozen 1" in file.read_text() for file in events if file.exists())


def states(server: ForkServer) -> set[str]:
    """Of all threads below a fork server."""
    return {tree._state(t) for p in tree.below(server.pid) for t in tree.threads(p.pid)}


def nothing_is_left() -> bool:
    gone = [p for server in MACHINE.servers(2) for p in tree.below(server.pid)]
    return not psutil.wait_procs(gone, timeout=60)[1]


@pytest.fixture
def file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that cheats, with its limit of memory set."""
    path: Path = request.param
    if limit := re.search(r"^# memory_mb: (\d+)$", path.read_text(), re.MULTILINE):
        known = presets.load_presets()
        small = {**known, "cpu": replace(known["cpu"], memory_mb=int(limit[1]))}
        monkeypatch.setattr(presets, "load_presets", lambda: MappingProxyType(small))
    return path


@pytest.fixture
def stopped_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How trainings are stopped: their group is frozen where that can be, or by signals.

    By signals, too, if there is a process (here each) that is no member of the group.
    """
    frozen = {"signals": set(), "signals, for strangers": {1}}
    if request.param in frozen:
        monkeypatch.setattr(Cgroup, "freeze", lambda group, deadline: frozen[request.param])
    return str(request.param)


@pytest.mark.parametrize(
    ("file", "stopped_by"),
    [
        pytest.param(path, "any", marks=[pytest.mark.slow] if path.stem not in USUAL else [])
        for path in FILES
    ]
    + [
        pytest.param(path, "signals", marks=pytest.mark.slow if path.stem != COMPUTES[0] else ())
        for path in FILES
        if path.stem in COMPUTES
    ]
    + [
        pytest.param(path, "signals, for strangers", marks=pytest.mark.slow)
        for path in FILES
        if path.stem == COMPUTES[0]
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
    indirect=True,
)
def test_gains_nothing_and_harms_nobody(file: Path, stopped_by: str, tiny_source: str) -> None:
    text = file.read_text()
    expected = re.findall(r"^# expect: (\w+) ?(.*)$", text, re.MULTILINE)
    longer = re.search(r"^# budget: (\d+)s$", text, re.MULTILINE)
    seconds = float(longer[1]) if longer else BUDGET
    assert expected
    others: list[set[str]] = []

    def look(event: dict[str, Any]) -> None:
        """While the champion trains, nothing of the other may run."""
        if event["event"] == "log" and event["training"] == 0:
            server = MACHINE.servers(2)[1]
            others.append(states(server))
            assert is_frozen(server) or others[-1] <= set("TtZX")

    champion, candidate = heat(
        [tiny_source, tiny_source + text], budget=f"{seconds}s", seed=3, on_event=look, **CPU
    )

    assert (champion.status, champion.how) == ("ok", "side by side"), champion.reason
    assert any(
        candidate.status == status and candidate.reason.startswith(reason)
        for status, reason in expected
    ), (candidate.status, candidate.reason + candidate.detail)
    assert candidate.train_seconds < seconds + 0.6
    if pays := re.search(r"^# pays: (.+)$", text, re.MULTILINE):
        assert candidate.train_seconds < seconds - float(pays[1])
        assert candidate.val_bpb > champion.val_bpb
    assert 0.8 * seconds < champion.train_seconds < seconds + 0.3
    assert len(others) > 3
    if file.stem in COMPUTES:
        assert any(others)  # it was there
        assert stopped_by == "any" or {"T"} <= set().union(*others)
    if CONFINED:
        assert "open:" not in candidate.output
    assert nothing_is_left()
    json.dumps(candidate.to_json(), allow_nan=False)  # as the journal writes it
    alone = measure(tiny_source, budget=f"{seconds}s", seed=3, trace=champion.trace, **CPU)
    assert (alone.weights_sha256, alone.val_bpb) == (champion.weights_sha256, champion.val_bpb)


@pytest.mark.slow
@pytest.mark.parametrize("learnt_in", ["check", "heat"])
def test_what_was_learnt_while_others_compile_is_paid_for_when_it_is_lent(
    learnt_in: str, tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a preset that compiles, in each heat that is lent what the long start-up has left."""
    compiles = replace(presets.find_preset("cpu"), compiles=True)
    monkeypatch.setattr(machine, "find_preset", lambda *_: compiles)
    cheat = (Path(__file__).parent / "in_heats" / "learns_before_ready.py").read_text()
    sources = [tiny_source, tiny_source + cheat]
    MACHINE.close()
    if learnt_in == "check":
        assert [check(source, **CPU).status for source in sources] == ["ok", "ok"]
    else:
        heat(sources, budget="0.5s", **CPU)

    champion, candidate = heat(sources, budget="2s", **CPU)

    assert candidate.output == "it was lent what it has learnt\n"
    assert candidate.startup_seconds < 1.0
    assert candidate.train_seconds < 2 - 0.8
    assert champion.val_bpb is not None and candidate.val_bpb is not None
    assert candidate.val_bpb > champion.val_bpb


@pytest.mark.parametrize("stopped_by", ["signals"], indirect=True)
def test_computing_while_stopped_is_seen(
    tiny_source: str, stopped_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it was done: here the parent's own stop does nothing."""
    monkeypatch.setattr(tree, "is_stopped", lambda pid: True)
    monkeypatch.setattr(signal, "SIGSTOP", signal.SIGCONT)
    forks = (Path(__file__).parent / "in_heats" / "forks_beside_its_turn.py").read_text()
    _, candidate = heat([tiny_source, tiny_source + forks], budget=f"{BUDGET}s", **CPU)
    assert candidate.status == "invalid"
    assert "computed while stopped" in candidate.reason
