"""How two revisions of train.py are compared."""

import json

import pytest

from benchmarks import versions
from benchmarks.training import TRAIN_FILE


def test_figures_are_of_paired_differences_and_ratios() -> None:
    tokens = [{"difference": 0.002}, {"difference": 0.004}]
    heats = [{"difference": 0.01, "ratio": ratio} for ratio in (0.9, 1.1, 1.2)]
    assert versions.figures(tokens, heats) == {
        "equal tokens": {"n": 2, "mean difference": 0.003, "standard error": 0.001},
        "equal seconds, in turns": {"n": 3, "mean difference": 0.01, "standard error": 0.0},
        "tokens a second, ratio": {"n": 3, "median": 1.1, "lowest": 0.9, "highest": 1.2},
    }


def test_a_revision_that_is_not_there_is_named() -> None:
    with pytest.raises(versions.Failed, match=r"^nowhere: .*nowhere"):
        versions.source_at("nowhere")


@pytest.mark.process
@pytest.mark.slow
def test_a_file_beside_itself_differs_in_nothing_at_equal_tokens(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.versions.source_at", lambda revision: TRAIN_FILE.read_text())
    monkeypatch.setattr("benchmarks.versions.RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.machine.RESULTS", tmp_path)
    monkeypatch.setitem(versions.SIZES, "full", (1, "20000tok", 0, "1s"))
    found = versions.run("here", "full")
    assert found["figures"]["equal tokens"]["mean difference"] == 0.0
    assert json.loads((tmp_path / "versions.json").read_text())["tokens"] == found["tokens"]
    monkeypatch.setattr("benchmarks.versions.measure", None)  # what is there is not taken again
    assert versions.run("here", "full")["tokens"] == found["tokens"]
