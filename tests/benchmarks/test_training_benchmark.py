import json
import sys

import pytest

from benchmarks import machine, training
from benchmarks.training import (
    TRIES,
    Case,
    Failed,
    cases,
    changed,
    code_sha256,
    differences,
    named,
    ratios,
    summary,
    theirs,
)

PORT = """
import json, os
print("step 1")
seed, seconds = int(os.environ["SEED"]), int(os.environ["TIME_BUDGET"])
print(json.dumps({"val_bpb": 2.0 + seed, "tokens_per_second": 1000.0, "params": seconds,
                  "how": os.environ["DATA"], "more": 1}))
"""


def reading(who, seconds, seed, val_bpb=1.0, tokens_per_second=100, data="apidocs"):
    return {
        "who": who, "seconds": seconds, "seed": seed, "data": data, "val_bpb": val_bpb,
        "tokens_per_second": tokens_per_second, "params": 1, "wall_seconds": 2.0,
    }  # fmt: skip


@pytest.fixture
def readings_of_ours(monkeypatch, tmp_path):
    """Where results go, with a training of ours that takes no time; the list of those taken."""
    taken = []

    def ours(case, data):
        taken.append((case, data))
        figures = reading("", 0, 0, val_bpb=1.0 + case.seed)
        return {name: figures[name] for name in figures if not hasattr(case, name)}

    monkeypatch.setattr(training, "ours", ours)
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(training, "RESULTS", tmp_path)
    monkeypatch.setattr(training, "PICTURE", tmp_path / "budgets.svg")
    return taken


@pytest.fixture
def port(tmp_path):
    path = tmp_path / "port.py"
    path.write_text(PORT)
    return path


def test_what_is_compared_runs_in_turn_seed_by_seed():
    order = cases(["reference"], ["a", "b"], None)

    assert [case.who for case in order] == ["ours", "a", "b"] * 5
    assert [case.seed for case in order] == [seed for seed in range(5) for _ in range(3)]


def test_every_try_runs_beside_ours_in_each_seed():
    order = cases(["tries"], [], None)

    assert [case.who for case in order] == ["ours", *TRIES] * 3
    assert {case.seconds for case in order} == {30}


@pytest.mark.parametrize("who", [*TRIES, "laptop", "ours in its shape"])
def test_a_try_changes_train_py(who):
    source = training.TRAIN_FILE.read_text()

    assert changed(source, "ours") == source
    assert changed(source, who) != source
    compile(changed(source, who), who, "exec")


def test_a_try_is_compared_with_ours_of_the_same_seed_and_is_no_reference():
    name = next(iter(TRIES))
    readings = [
        reading("ours", 30, 0, val_bpb=1.0), reading(name, 30, 0, val_bpb=1.5),
        reading("ours", 30, 1, val_bpb=3.0), reading(name, 30, 1, val_bpb=2.0),
        reading("ours", 60, 2, val_bpb=9.0), reading(name, 30, 2, val_bpb=7.0),
    ]  # fmt: skip

    assert differences(readings) == {name: {"mean": -0.25, "each": [0.5, -1.0]}}
    assert ratios(readings) == {}


def test_fewer_seeds_are_the_first_ones():
    assert [case.seed for case in cases(["reference"], ["a"], None, seeds=2)] == [0, 0, 1, 1]


def test_a_training_that_two_parts_ask_for_is_run_once():
    order = cases(["reference", "sigma"], ["a"], None)

    assert len(order) == len(set(order)) == 5 * 2 + 30 - 5


def test_the_untouched_corpus_is_named_without_its_folder():
    (first, *_) = cases(["untouched"], [], "files:/home/someone/texts")

    assert first.data == "files:texts"
    assert named("apidocs") == "apidocs"
    assert cases(["untouched"], [], None) == []


def test_a_ratio_is_taken_within_a_seed():
    readings = [
        reading("ours", 60, 0, val_bpb=1.0), reading("a", 60, 0, val_bpb=2.0),
        reading("ours", 60, 1, val_bpb=3.0), reading("a", 60, 1, val_bpb=4.0),
        reading("ours", 60, 2, val_bpb=9.0), reading("laptop", 60, 0),
        reading("ours in its shape", 15, 0, tokens_per_second=300),
        reading("a", 15, 0, tokens_per_second=200),
    ]  # fmt: skip

    assert ratios(readings) == {
        "val_bpb against a, 60 s, apidocs": {
            "n": 2, "median": 0.625, "lowest": 0.5, "highest": 0.75
        },
        "tokens_per_second against a, 15 s, apidocs": {
            "n": 1, "median": 1.5, "lowest": 1.5, "highest": 1.5
        },
    }  # fmt: skip


def test_means_are_of_one_corpus_and_budget():
    readings = [
        reading("ours", 60, 0, val_bpb=1.0), reading("ours", 60, 1, val_bpb=2.0),
        reading("ours", 60, 0, val_bpb=5.0, data="files:texts"),
    ]  # fmt: skip

    found = summary(readings)

    assert (found["ours, 60 s, apidocs"]["n"], found["ours, 60 s, apidocs"]["val_bpb"]) == (2, 1.5)
    assert found["ours, 60 s, apidocs"]["sd"] == pytest.approx(0.7071)
    assert found["ours, 60 s, files:texts"]["sd"] is None


@pytest.mark.process
def test_a_port_has_the_allocator_that_ours_has(port, monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    port.write_text(PORT.replace('os.environ["DATA"]', 'os.environ["MALLOC_MMAP_THRESHOLD_"]'))

    assert theirs(port, Case("port", 60, 3), "apidocs")["how"] == "1000000000"


@pytest.mark.process
def test_a_port_is_told_budget_seed_and_corpus_and_heard(port):
    found = theirs(port, Case("port", 60, 3, "files:texts"), "files:/a/texts")

    assert found.pop("wall_seconds") >= 0
    assert found == {
        "val_bpb": 5.0, "tokens_per_second": 1000.0, "params": 60, "how": "files:/a/texts"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit('no such depth')", "no such depth"),
        ("print('done')", "the last line of port.py lacks"),
        ("print('{\"val_bpb\": 1.0}')", "the last line of port.py lacks"),
        ("", "the last line of port.py lacks"),
    ],
)
@pytest.mark.process
def test_a_port_that_gives_no_figures_is_named(port, source, said):
    port.write_text(source)

    with pytest.raises(Failed, match=said):
        theirs(port, Case("port", 60, 0), "apidocs")


@pytest.mark.process
def test_readings_that_are_there_are_not_taken_again(readings_of_ours, port, tmp_path):
    training.full(["reference"], {"port": port}, None)
    first = json.loads((tmp_path / "training.json").read_text())
    training.full(["reference", "sigma"], {"port": port}, None)

    kept = json.loads((tmp_path / "training.json").read_text())
    assert kept["readings"][:10] == first["readings"]
    assert len(kept["readings"]) == 35
    assert [case for case, _ in readings_of_ours] == list(
        dict.fromkeys(case for case, _ in readings_of_ours)
    )


def test_what_is_written_about_code_is_not_code():
    plain = code_sha256("def f(x):\n    return x\n")

    assert code_sha256('"""F."""\n\n\ndef f(x):\n    """Same."""\n    return x  # x\n') == plain
    assert code_sha256("def f(x):\n    return -x\n") != plain


@pytest.mark.process
def test_readings_of_another_train_py_are_not_counted(
    readings_of_ours, port, tmp_path, monkeypatch
):
    training.full(["reference"], {"port": port}, None)
    other = tmp_path / "train.py"
    other.write_text(training.TRAIN_FILE.read_text().replace("MUON_STEPS = 3", "MUON_STEPS = 4"))
    monkeypatch.setattr(training, "TRAIN_FILE", other)

    training.full(["reference"], {"port": port}, None)

    assert len(json.loads((tmp_path / "training.json").read_text())["readings"]) == 10
    assert len(readings_of_ours) == 10


@pytest.mark.process
def test_a_training_that_fails_is_left_for_the_next_call(readings_of_ours, port):
    works = port.read_text()
    port.write_text("raise SystemExit('out of memory')")
    assert training.full(["reference"], {"port": port}, None)["left_out"] == 5

    port.write_text(works)
    assert training.full(["reference"], {"port": port}, None)["left_out"] == 0


def test_the_folder_of_a_corpus_is_not_in_the_results(readings_of_ours, tmp_path):
    training.full(["untouched"], {}, "files:/home/someone/texts")

    assert "someone" not in (tmp_path / "training.json").read_text()
    assert {data for _, data in readings_of_ours} == {"files:/home/someone/texts"}


def test_the_picture_shows_budgets(readings_of_ours, tmp_path):
    training.full(["budgets"], {}, None)

    picture = (tmp_path / "budgets.svg").read_text()
    assert "<!-- cpu preset -->" in picture
    assert "<!-- laptop preset -->" in picture


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--full", "--reference", "nowhere.py"], "nowhere.py: there is no such file"),
        (["--full", "--part", "untouched"], "name the corpus with --data"),
    ],
)
def test_bad_options_are_told_before_anything_runs(options, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["training", *options])

    with pytest.raises(SystemExit) as stopped:
        training.main()

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
