"""Honest training files of many kinds: none is refused, and each has learnt something.

A file here is appended to tests/tiny_train.py.
"""

from pathlib import Path

import pytest

from trainer.measure import check, measure

HONEST = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))
UNIFORM_GUESS_BPB = 8.0


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_is_believed(path: Path, tiny_source: str) -> None:
    measured = measure(
        tiny_source + path.read_text(), budget="60000tok", preset="cpu", device="cpu"
    )

    assert measured.status == "ok", measured.reason + measured.detail
    assert measured.val_bpb is not None and measured.val_bpb < 0.9 * UNIFORM_GUESS_BPB
    assert measured.leak_bound_bpb < 0.001
    assert 60_000 <= measured.tokens < 70_000
    assert measured.params > 0 and measured.steps > 0


def test_what_ships_is_believed() -> None:
    source = (Path(__file__).parents[2] / "trainer" / "train.py").read_text()

    checked = check(source, preset="cpu", device="cpu")

    assert checked.ok, checked.reason + checked.detail


@pytest.mark.slow
def test_no_false_alarm_in_many_scorings(tiny_source: str) -> None:
    attention = tiny_source + (Path(__file__).parent / "attention.py").read_text()
    for seed in range(40):
        measured = measure(attention, budget="20000tok", seed=seed, preset="cpu", device="cpu")
        assert measured.status == "ok", (seed, measured.reason)
