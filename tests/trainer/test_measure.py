"""Measuring for real: budgets, clocks, replays, ends of all kinds. Cheats are in tests/hacks."""

import base64
import inspect
import json
import math
import sys
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil
import pytest
from measuring import measure

from trainer import measure as measurements
from trainer import presets
from trainer.__main__ import main
from trainer.measure import MACHINE, Measurement, audit, check, resolve
from trainer.presets import BadSetting, Budget
from trainer.sandbox import confine
from trainer.sandbox.confine import SandboxError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch):
    """``cpu(field=value)`` changes the preset for one test."""

    def change(**fields: Any) -> None:
        changed = {
            **presets.load_presets(),
            "cpu": replace(presets.load_presets()["cpu"], **fields),
        }
        monkeypatch.setattr(presets, "load_presets", lambda: MappingProxyType(changed))

    return change


class TestResult:
    def test_fields(self, plain: Measurement) -> None:
        assert (plain.status, plain.reason, plain.detail) == ("ok", "", "")
        assert plain.seed == 5 and plain.budget == "40000tok" and plain.preset == "cpu"
        assert plain.isolation == confine.available()[0]
        assert plain.params == 2 * 257 * 257
        assert plain.tokens == 20 * 2048 and plain.steps == 20
        assert 50 < plain.peak_memory_mb < 2000
        assert len(plain.weights_sha256) == 64
        assert plain.fingerprint["data"] and plain.fingerprint["trainer"]
        assert plain.fingerprint["processor"] and "instructions" in plain.fingerprint
        for seconds in (plain.startup_seconds, plain.train_seconds, plain.score_seconds):
            assert 0 < seconds < plain.wall_seconds
        assert plain.curve and all(len(point) == 3 for point in plain.curve)
        json.dumps(plain.to_json(), allow_nan=False)

    def test_the_score_is_right(self, tiny_source: str, prepared) -> None:
        """A model that ignores its ids has a score that can be computed by hand."""
        fixed = """
class Fixed(Tiny):
    def forward(self, ids):
        return self.last.weight[0].expand(*ids.shape, -1) * 1.0

def build_model(spec):
    return Fixed(spec.vocab_size)

def train(session):
    session.ready()
    model = build_model(session.spec)
    with torch.no_grad():
        model.last.weight[0] = -(((torch.arange(VOCAB_SIZE) - 100) / 40) ** 2)
    return model
"""
        tokens = np.fromfile(prepared.val.tokens, dtype="<u2").astype(np.int64)
        logits = -(((np.arange(257) - 100) / 40) ** 2)
        nats = np.log(np.exp(logits).sum()) - logits[tokens[tokens != 256]]
        text = bytes(tokens[tokens != 256].astype(np.uint8))
        text.decode()
        assert len(text) == prepared.val.n_bytes

        measured = measure(tiny_source + fixed)

        assert measured.val_bpb == pytest.approx(nats.sum() / math.log(2) / len(text), rel=1e-6)

    def test_events(self, tiny_source: str) -> None:
        events: list[dict[str, Any]] = []
        measure(tiny_source, on_event=events.append)
        kinds = [event["event"] for event in events if event["event"] != "preparing"]
        assert kinds[0] == "ready" and "log" in kinds and kinds[-1] == "scoring"
        assert events[-1]["fraction"] == 1.0

    def test_check(self, tiny_source: str) -> None:
        checked = check(tiny_source, preset="cpu", device="cpu")
        assert checked.ok and checked.status == "ok" and checked.peak_memory_mb > 50
        renamed = tiny_source.replace("optimizer", "renamed").replace("8\n", "4 + 4\n")
        assert renamed != tiny_source
        same = check(renamed, preset="cpu", device="cpu")
        other = check(tiny_source.replace("0.1 * (", "0.2 * ("), preset="cpu", device="cpu")
        assert checked.weights_sha256 == same.weights_sha256 != other.weights_sha256 != ""
        broken = check("x = (", preset="cpu", device="cpu")
        assert not broken.ok and broken.reason.startswith("contract: train.py line 1")
        crashed = check(tiny_source + "\nraise ValueError('no')\n", preset="cpu", device="cpu")
        assert crashed.reason == "crash: ValueError: no"
        assert "line" in crashed.detail and "raise ValueError" in crashed.detail


class TestBudget:
    def test_seconds(self, tiny_source: str) -> None:
        measured = measure(tiny_source, "0.6s")
        assert measured.status == "ok" and measured.steps > 1
        readings = np.frombuffer(base64.b64decode(measured.trace), "<f8")
        progress = readings[readings >= 0]
        assert progress.min() >= 0 and progress.max() <= 1 and (np.diff(progress) >= 0).all()

    def test_steps(self, tiny_source: str) -> None:
        assert measure(tiny_source, Budget(steps=3)).steps == 3

    def test_start_up_beyond_the_cap_comes_off_the_budget(self, tiny_source: str, cpu) -> None:
        cpu(startup_seconds=0.2)
        slow = """
import time

def train(session, honest=train):
    time.sleep(1.0)
    ready = session.ready
    session.ready = lambda: (ready(), print(session._clock.budget.seconds))
    return honest(session)
"""
        measured = measure(tiny_source + slow, "2s")
        assert measured.startup_seconds > 1.0
        assert 0 < float(measured.output) <= 2 - 0.8

    def test_never_ready(self, tiny_source: str, cpu) -> None:
        cpu(startup_seconds=0.2)
        measured = measure(tiny_source + "\nwhile True: pass\n", "0.2s")
        assert measured.status == "overtime"
        assert measured.reason.startswith("overtime: no ready after")

    def test_overtime(self, tiny_source: str) -> None:
        late = "\ndef train(session):\n    session.ready()\n    while True: pass\n"
        measured = measure(tiny_source + late, "0.2s")
        assert measured.status == "overtime" and measured.val_bpb is None
        assert measured.reason.startswith("overtime: no weights after")

    def test_tokens_have_a_wall_cap(self, tiny_source: str, monkeypatch) -> None:
        monkeypatch.setattr("trainer.training.job.Job.wall_cap", lambda job: 0.5)
        late = "\ndef train(session):\n    session.ready()\n    while True: pass\n"
        assert measure(tiny_source + late, "40000tok").status == "overtime"


class TestReproducible:
    def test_same_seed_same_weights(self, tiny_source: str, plain: Measurement) -> None:
        again = measure(tiny_source, seed=5)
        assert (again.weights_sha256, again.val_bpb) == (plain.weights_sha256, plain.val_bpb)

    def test_another_seed_other_weights(self, tiny_source: str, plain: Measurement) -> None:
        assert measure(tiny_source, seed=6).weights_sha256 != plain.weights_sha256

    def test_a_recorded_clock_gives_the_same_weights(self, tiny_source: str) -> None:
        first = measure(tiny_source, "0.6s", seed=1)
        again = measure(tiny_source, "0.6s", seed=1, trace=first.trace)
        assert first.status == "ok" and first.steps == again.steps
        assert (again.weights_sha256, again.val_bpb) == (first.weights_sha256, first.val_bpb)
        assert again.trace == first.trace

    def test_a_clock_of_another_file_is_named(self, tiny_source: str, plain: Measurement) -> None:
        twice = tiny_source.replace("session.progress()", "(session.done() + session.progress())")
        measured = measure(twice, seed=5, trace=plain.trace)
        assert measured.status == "invalid" and "replay: " in measured.reason


class TestIsolation:
    def test_off(self, tiny_source: str) -> None:
        looks = "\nprint(open('/etc/passwd').readline())\n"
        measured = measure(tiny_source + looks, isolation="off")
        assert measured.status == "ok" and measured.isolation == "off"
        assert "root" in measured.output

    def test_where_the_system_cannot(self, tiny_source: str, monkeypatch) -> None:
        monkeypatch.setattr(confine, "available", lambda: ("process", "too old"))
        assert measure(tiny_source).isolation == "process"
        with pytest.raises(SandboxError, match="too old"):
            measure(tiny_source, isolation="require")

    def test_no_key_in_the_environment(self, tiny_source: str, monkeypatch) -> None:
        MACHINE.close()
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
        shows = "\nimport os\nprint(dict(os.environ))\n"
        measured = measure(tiny_source + shows)
        MACHINE.close()
        assert "PYTHONHASHSEED" in measured.output
        assert "ANTHROPIC" not in measured.output and "sk-secret" not in measured.output

    @LINUX
    def test_the_server_runs_no_torch_operation(self, plain: Measurement) -> None:
        assert plain.status == "ok"
        assert psutil.Process(MACHINE.server().pid).num_threads() == 1

    def test_memory_of_all_processes(self, tiny_source: str, cpu) -> None:
        cpu(memory_mb=700)
        hog = """
import os, time

def train(session):
    session.ready()
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            break
    block = bytearray(b"x") * (250 << 20)
    time.sleep(1000)
"""
        measured = measure(tiny_source + hog)
        assert measured.status == "oom" and measured.reason.startswith("memory: more than 700 MB")

    def test_memory_while_scored(self, tiny_source: str, cpu) -> None:
        cpu(memory_mb=3000)
        hog = """
import time

class Hog(Tiny):
    def forward(self, ids):
        if not self.training:
            self.block = bytearray(b"x") * (3 << 30)
            time.sleep(1000)
        return super().forward(ids)

def build_model(spec):
    return Hog(spec.vocab_size)
"""
        measured = measure(tiny_source + hog)
        assert measured.status == "oom" and "of scoring" in measured.reason

    def test_memory_error(self, tiny_source: str) -> None:
        raises = "\ndef train(session):\n    raise MemoryError\n"
        assert measure(tiny_source + raises).status == "oom"

    def test_output_closed(self, tiny_source: str) -> None:
        closes = "\nimport os\nprint('before', flush=True)\nos.close(1)\nos.close(2)\n"
        measured = measure(tiny_source + closes)
        assert measured.status == "ok" and measured.output == "before\n"


class TestBadSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"isolation": "maybe"}, "choose auto, require or off"),
            ({"split": "train"}, "split 'train': there is val, and test, which is sealed"),
            ({"seed": -1}, "seed -1"),
            ({"seed": 1 << 64}, "seed"),
            ({"budget": "5x"}, "budget '5x'"),
        ],
    )
    def test_one_clear_line(self, settings, message) -> None:
        with pytest.raises(BadSetting, match=message) as caught:
            measure("", **settings)
        assert "\n" not in str(caught.value)

    def test_the_test_text_is_opened_by_two_functions_only(self) -> None:
        ways = (measurements.measure, measurements.heat, check, audit, main)
        can = [way.__name__ for way in ways if "split" in inspect.signature(way).parameters]
        assert can == ["measure", "heat"]

    def test_device_and_preset(self) -> None:
        with pytest.raises(BadSetting, match="device 'tpu'"):
            resolve(device="tpu")
        with pytest.raises(BadSetting, match="no preset 'tpu'"):
            resolve(preset="tpu")

    @pytest.mark.process
    def test_a_server_that_cannot_start(self, monkeypatch) -> None:
        MACHINE.close()
        monkeypatch.setattr(MACHINE, "_probe", None)
        monkeypatch.setattr("trainer.training.machine.PROGRAM", "this")
        with pytest.raises(SandboxError, match="the measuring process does not start"):
            MACHINE.probe()
        MACHINE.close()
