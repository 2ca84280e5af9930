"""Training files that cheat: each is refused by name, or gains nothing, and leaves nothing behind.

A file here is appended to tests/tiny_train.py. Its head says what must come of it: a status, and
how the reason begins. After ``ok`` nothing may have been gained, and no door may have been open.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import botocore
import psutil
import pytest

import trainer
from trainer import data, sandbox
from trainer.measure import LABORATORY, Measurement, measure

HACKS = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))
BUDGET = "40000tok"
CONFINED = sandbox.available()[0] == "os"


@pytest.fixture(scope="module")
def honest(tiny_source: str) -> Measurement:
    measured = measure(tiny_source, budget=BUDGET, preset="cpu", device="cpu")
    assert measured.status == "ok", measured.reason
    return measured


def filled(text: str) -> str:
    """The places that a cheat would look at, filled in: it would find out where they are."""
    places = {
        "home": Path.home(),
        "trainer": Path(trainer.__file__).parent,
        "cache": data.cache_dir(),
        "botocore": Path(botocore.__file__).parent,
        "val": data.prepare(vocab_size=257).val.tokens,
    }
    for name, path in places.items():
        text = text.replace(f"@{name}@", str(path))
    return text


@pytest.mark.parametrize("path", HACKS, ids=lambda path: path.stem)
def test_gains_nothing(
    path: Path,
    tiny_source: str,
    honest: Measurement,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = path.read_text()
    expected = re.search(r"^# expect: (\w+) ?(.*)$", text, re.MULTILINE)
    budget = re.search(r"^# budget: (\S+)$", text, re.MULTILINE)
    assert expected is not None

    measured = measure(
        tiny_source + filled(text),
        budget=budget[1] if budget else BUDGET,
        preset="cpu",
        device="cpu",
    )

    assert (measured.status, measured.reason[: len(expected[2])]) == expected.groups(), (
        measured.reason + measured.detail
    )
    if measured.status == "ok":
        assert measured.val_bpb is not None and honest.val_bpb is not None
        assert measured.val_bpb >= honest.val_bpb - 1e-9
        if CONFINED:
            assert "open:" not in measured.output
    else:
        assert measured.val_bpb is None
    shown = measured.reason + measured.detail + measured.output
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert len(shown) < 20_000
    assert 0 <= measured.tokens < 1 << 62 and 0 <= measured.peak_memory_mb < 1e6
    for pid in re.findall(r"^pid (\d+)$", measured.output, re.MULTILINE):
        assert not psutil.pid_exists(int(pid))
    assert sandbox.usage(LABORATORY.server().pid).processes == 0
    assert list(tmp_path.iterdir()) == []


def test_validation_text_is_not_in_what_a_failing_model_says(tiny_source: str) -> None:
    text = (Path(__file__).parent / "crash_when_scored.py").read_text()

    measured = measure(tiny_source + text, budget=BUDGET, preset="cpu", device="cpu")

    assert measured.reason == "eval-crash: the model failed before logits"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems confine by other means")
def test_confined_children_are_what_was_tried_here() -> None:
    """A machine that cannot confine passes the doors by not being asked: say so."""
    if os.environ.get("CI"):
        assert CONFINED, sandbox.available()
