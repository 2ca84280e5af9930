import json
import sys

import pytest

from benchmarks import machine, overhead


def reading(isolation, train=1.0, turnaround=0.2):
    return {
        "isolation": isolation,
        "turnaround_seconds": turnaround,
        "startup_seconds": 0.1,
        "train_seconds": train,
        "score_seconds": 2.0,
        "all_seconds": train + 2.2,
    }


def test_turnaround_runs_from_weights_to_first_step_without_the_scoring_between(monkeypatch):
    at = {"auto": (16.5, 20.0), "off": (23.75, 30.0)}

    def training(isolation, budget):
        first_step, weights = at[isolation]
        return {
            "isolation": isolation,
            "first_step_at": first_step,
            "weights_at": weights,
            "score_seconds": 3.0,
        }

    monkeypatch.setattr(overhead, "training", training)
    before = {"weights_at": 10.0, "score_seconds": 6.0}

    confined, open_ = overhead.pair("auto", "1tok", before)

    assert (confined["isolation"], confined["turnaround_seconds"]) == ("auto", 0.5)
    assert (open_["isolation"], open_["turnaround_seconds"]) == ("off", 0.75)


def test_ratios_are_taken_within_pairs_whichever_came_first():
    pairs = [
        [reading("os", train=1.0), reading("off", train=1.0)],
        [reading("off", train=2.0), reading("os", train=2.2)],
        [reading("os", train=12.0), reading("off", train=10.0)],
    ]

    found = overhead.summary(pairs)

    assert found["sandbox"]["training_ratio"]["median"] == pytest.approx(1.1)
    assert found["isolation"] == "os"


def test_a_median_over_its_bound_is_said_to_be():
    pairs = [[reading("os", turnaround=0.6), reading("off", turnaround=0.1)]] * 3

    found = overhead.summary(pairs)

    assert not found["turnaround_seconds"]["within_bound"]
    assert found["scoring_seconds"]["within_bound"]


def test_an_interrupted_benchmark_goes_on_only_with_the_same_settings(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(overhead, "RESULTS", tmp_path)
    first = overhead.Progress({"budget": "1tok"}, kept=True)
    first.state["pairs"].append([reading("os"), reading("off")])
    first.save()

    assert len(overhead.Progress({"budget": "1tok"}, kept=True).state["pairs"]) == 1
    assert not overhead.Progress({"budget": "2tok"}, kept=True).state["pairs"]
    assert not overhead.Progress({"budget": "1tok"}, kept=False).state["pairs"]
    first.finish()
    assert not overhead.Progress({"budget": "1tok"}, kept=True).state["pairs"]


def program(tmp_path, evaluation_bytes):
    path = tmp_path / "port.py"
    said = {"training_seconds": 0.0, "evaluation_bytes": evaluation_bytes}
    path.write_text(f"print('step 1')\nprint({json.dumps(json.dumps(said))})\n")
    return path


@pytest.mark.process
def test_a_reference_that_scores_other_text_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="cannot be compared"):
        overhead._reference(program(tmp_path, 1000))


@pytest.mark.process
def test_all_but_the_training_of_a_reference_counts(tmp_path):
    assert overhead._reference(program(tmp_path, 150_000))["reference_seconds"] > 0.0


def test_a_missing_reference_is_named_before_anything_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["overhead", "--reference", "nowhere.py"])

    with pytest.raises(SystemExit):
        overhead.main()

    assert "nowhere.py: there is no such file" in capsys.readouterr().err


def test_only_the_pairs_that_are_missing_are_taken(monkeypatch):
    asked = []

    def training(isolation, budget):
        asked.append(isolation)
        return reading(isolation) | {"first_step_at": 0.0, "weights_at": 0.0}

    monkeypatch.setattr(overhead, "training", training)
    progress = overhead.Progress({}, kept=False)
    progress.state["pairs"].append([reading("os"), reading("off")])

    overhead.run(progress, pairs=3, budget="1tok", references=[])

    assert asked == ["auto", "off", "auto", "auto", "off"]
    assert len(progress.state["pairs"]) == 3
