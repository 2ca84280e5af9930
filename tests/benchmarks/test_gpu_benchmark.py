"""benchmarks.gpu without a GPU: each part runs on a CPU, with budgets of a second."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_parts, machine
from benchmarks.gpu import PARTS, Part
from benchmarks.gpu_parts import COUNTING, Bench, Done, Figures, Lost, NotYet
from trainer.data.prepare import DataError
from trainer.errors import UserError
from trainer.measure import resolve
from trainer.presets import find_preset

NAMES = [part.name for part in PARTS]
ANY = Bench(find_preset("cpu"), "cpu", "apidocs")
COMMAND = "python -m benchmarks.gpu"
ROOT = Path(gpu.__file__).parents[1]
RECOMPILES = """
import torch

def doubled(x):
    return x * 2

def train(session, before=train):
    compiled = torch.compile(doubled, backend="eager", dynamic=False)
    compiled(torch.ones(2))
    session.ready()
    compiled(torch.ones(3))
    compiled(torch.ones(4))
    session.ready = lambda: None
    return before(session)
"""


@pytest.fixture
def bench(tmp_path: Path, tiny_source: str) -> Bench:
    port = tmp_path / "port.py"
    port.write_text(tiny_source)
    return Bench(
        find_preset("cpu"),
        "cpu",
        "apidocs",
        short="0.5s",
        minute="1s",
        long="2s",
        trials=0,
        each="20000tok",
        train_file=port,
        reference=port,
        folder=tmp_path / "campaign",
    )


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    return tmp_path / "gpu.json"


@pytest.fixture
def state() -> dict[str, Any]:
    return {"conditions": gpu.conditions(resolve("cpu", "cpu"))}


@pytest.mark.process
@pytest.mark.slow
def test_every_part_gives_its_figures(bench: Bench, results: Path, state: dict[str, Any]) -> None:
    left = gpu.run(bench, state, NAMES, COMMAND, 10_000)
    assert left == []
    found = json.loads(results.read_text())["parts"]
    assert {name: each.get("lost") for name, each in found.items()} == dict.fromkeys(NAMES)
    assert all(each["date"] and each["command"] == COMMAND for each in found.values())
    figures = {name: each["figures"] for name, each in found.items()}
    assert figures["doctor"]["checks"] > 10
    assert figures["isolation"]["open"] == []
    assert figures["compiling"]["cold_seconds"] > 0
    assert figures["minute"]["val_bpb"] > 1 and figures["minute"]["audit_before_keep"]["ok"]
    assert figures["minute"]["graphs_after_ready"] == 0
    assert figures["whole"]["tokens"] > figures["minute"]["tokens"]
    assert figures["heat"]["how"] == "side by side"
    assert len(figures["noise"]["scores"]) == 3 and figures["noise"]["sd"] > 0
    assert figures["campaign"]["baseline_bpb"] > 1
    assert figures["reference whole"]["file"] == "port.py"
    table = gpu.table(state)
    assert all(f"\n{name} " in table for name in NAMES) and "LOST" not in table


@pytest.mark.process
def test_what_is_compiled_on_the_clock_is_counted(bench: Bench, tiny_source: str) -> None:
    found = gpu_parts.train(bench, "4000tok", text=tiny_source + RECOMPILES)
    assert (found["graphs_before_ready"], found["graphs_after_ready"]) == (1, 2)


@pytest.mark.process
@pytest.mark.slow
def test_without_the_packages_that_gpu_machines_lack() -> None:
    """Not confined then, and said so; corpora that were prepared elsewhere are used."""
    code = """
import sys
sys.modules.update(dict.fromkeys(["nono_py", "rustbpe", "botocore", "jinja2"]))
from benchmarks.gpu_parts import Bench, isolation, train
from trainer.presets import find_preset
import agent.cli  # for its doctor
bench = Bench(find_preset("cpu"), "cpu", "apidocs")
print(isolation(bench, {})["level"], train(bench, "40000tok")["isolation"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["process", "process"]


@pytest.mark.slow
@pytest.mark.process
def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == gpu.NO_DEVICE == 3
    assert "no CUDA device" in json.loads(done.stdout)["error"]
    assert done.stderr.startswith("error: torch ") and done.stderr.count("\n") == 1


# --- how parts are run, with parts that take no time ---


def fake(name: str, run: Any, seconds: float = 1.0, calls: int = 1) -> Part:
    return Part(name, run, seconds, str, calls)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, results: Path) -> list[str]:
    """Which parts were run: one that is fine, one that is lost, one that is cut off, one more."""
    ran: list[str] = []

    def fine(bench: Bench, done: Done) -> Figures:
        ran.append("fine")
        return {"saw": sorted(done)}

    def lost(bench: Bench, done: Done) -> Figures:
        ran.append("lost")
        raise Lost("crashed: at\nno luck")

    def endless(bench: Bench, done: Done) -> Figures:
        ran.append("endless")
        raise NotYet("the call's time was up")

    def broken(bench: Bench, done: Done) -> Figures:
        raise KeyError("of this torch")

    parts = (
        fake("broken", broken),
        fake("fine", fine), fake("lost", lost), fake("endless", endless, calls=2), fake("end", fine)
    )  # fmt: skip
    monkeypatch.setattr(gpu, "PARTS", parts)
    return ran


def test_a_lost_part_is_recorded_and_the_rest_goes_on(calls: list[str], results: Path) -> None:
    state: dict[str, Any] = {"conditions": {}}
    assert gpu.run(ANY, state, ["broken", "fine", "lost", "end"], COMMAND, 100) == []
    assert calls == ["fine", "lost", "fine"]
    found = json.loads(results.read_text())["parts"]
    assert found["lost"]["lost"] == "crashed: at\nno luck"
    assert 'raise KeyError("of this torch")' in found["broken"]["lost"]
    assert found["end"]["figures"] == {"saw": ["fine"]}
    now = {"device_name": "A card", "device_memory_mb": 1, "torch": "2", "driver": ""}
    now |= {"preset": "gpu", "text": "apidocs 1", "isolation": "os"}
    table = gpu.table({"conditions": now, "parts": found})
    assert "\nlost              LOST: no luck\n" in table


def test_it_goes_on_from_its_results_and_gives_up_what_never_ends(
    calls: list[str], results: Path
) -> None:
    wanted = ["fine", "lost", "endless", "end"]
    state: dict[str, Any] = {"conditions": {}}
    assert gpu.run(ANY, state, wanted, COMMAND, 100) == ["endless", "end"]
    state = json.loads(results.read_text())
    assert gpu.run(ANY, state, wanted, COMMAND, 100) == []
    assert calls == ["fine", "lost", "endless", "endless", "fine"]
    assert "in 2 whole calls" in state["parts"]["endless"]["lost"]


def test_no_part_is_begun_that_may_not_fit(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 0.0, 50.0, 60.0, 60.0])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(now))
    parts = (fake("a", lambda *_: {}, 90), fake("b", lambda *_: {}, 90))
    monkeypatch.setattr(gpu, "PARTS", parts)
    assert gpu.run(ANY, {"conditions": {}}, ["a", "b"], COMMAND, 100) == ["b"]


def test_other_conditions_begin_afresh(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = {"card": "A", "torch": "2.13"}
    results.write_text(json.dumps({"conditions": now, "parts": {"fine": {}}}))
    assert gpu.opened(now)["parts"] == {"fine": {}}
    assert gpu.opened({**now, "card": "B"}) == {"conditions": {**now, "card": "B"}}
    assert json.loads(results.with_name("gpu-before.json").read_text())["parts"] == {"fine": {}}
    results.write_text('{"conditions": {')
    with pytest.raises(UserError, match=r"gpu\.json is damaged"):
        gpu.opened(now)
    assert "these changed: card" in capsys.readouterr().err


@pytest.mark.parametrize(("epochs", "told"), [(65.0, True), (1.0, False)])
def test_a_corpus_read_often_is_told_with_60_s_beside(epochs: float, told: bool) -> None:
    def reading(times: float) -> Mapping[str, Any]:
        return {"figures": {"epochs": times, "val_bpb": 1.0 + times / 1000}}

    parts = {"whole": reading(epochs), "minute": reading(epochs / 5)}
    lines = gpu.notes({"parts": parts})
    assert bool(lines) == told
    assert not told or ("read 65.0 times" in lines[0] and "60 s: 13.0 times, 1.0130" in lines[0])


def test_the_command_goes_on_from_its_results_and_ends_with_1_for_what_is_lost(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = {"device": "cuda", "name": "A card", "torch": "2.11", "device_memory_mb": 16_000}
    monkeypatch.setattr(gpu.MACHINE, "probe", lambda: probe)

    def call(*arguments: str) -> tuple[object, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["gpu", "--preset", "cpu", "--json", *arguments])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
        return ended.value.code, json.loads(capsys.readouterr().out)

    code, first = call("--part", "fine")
    assert (code, first["left"], list(first["parts"])) == (0, [], ["fine"])
    assert first["conditions"]["device_name"] == "A card"
    code, second = call()
    assert (code, second["left"]) == (1, ["endless", "end"])
    assert "broken" in second["parts"] and calls == ["fine", "lost", "endless"], (
        "what is there is not run again"
    )
    call("--part", "fine")
    assert calls[-1] == "fine", "unless it is asked for"


def test_it_downloads_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "prepared", lambda *_: False)
    assert gpu.without_download(find_preset("h100")) == "apidocs"
    assert "first run: python -m agent prepare climbmix" in capsys.readouterr().err
    monkeypatch.setattr(gpu, "prepared", lambda *_: True)
    assert gpu.without_download(find_preset("h100")) == "climbmix"


def test_where_no_corpus_can_be_made_it_says_what_to_carry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = {"device": "cuda", "name": "A card", "torch": "2.11", "device_memory_mb": 81_000}
    monkeypatch.setattr(gpu.MACHINE, "probe", lambda: probe)

    def none(*args: object, **kwargs: object) -> None:
        raise DataError("rustbpe is not installed")

    monkeypatch.setattr(gpu, "prepare", none)
    monkeypatch.setattr(sys, "argv", ["gpu", "--data", "apidocs"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "AUTORESEARCH_CACHE=carried python -m agent prepare --preset h100 apidocs" in said


def test_the_wrapper_does_not_hide_the_contract(tiny_source: str) -> None:
    from trainer.contract import read

    assert read(tiny_source + COUNTING, 1024) == read(tiny_source, 1024)
