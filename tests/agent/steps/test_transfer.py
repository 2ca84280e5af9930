"""Transfer: keeps at another budget or size, labelled, told everywhere, nothing opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from kept_edits import GAIN, keep_edits
from project import as_json, events
from staged import Score, answer

from agent.campaign.reading import CampaignError, load
from agent.edits.constants import constants
from agent.git.repo import Repo
from agent.steps.transfer import elsewhere, scaled
from trainer import measure
from trainer.errors import UserError
from trainer.measure import CheckResult

pytestmark = pytest.mark.process

SOURCE = """\
VOCAB_SIZE = 257
SEQ_LEN = 64
DEPTH = 3  # range 1..8
RATE = 0.0123456
NAME = "adam"
FAST = True
SIZES = (1, 2)
"""
HERE = {1: 0.03, 2: 0.0, 3: 0.003}
"""Gain of each edit at the other setting."""


@pytest.fixture
def home_of_three(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(measure, "check", lambda source, **_: CheckResult("ok"))
    source = (home / "trainer/train.py").read_text()
    keep_edits(home, [source, *(f"{source}\nEDITS = {n}\n" for n in HERE)]).close()
    return home


def score(source: str, seed: int) -> Score:
    """The third edit's gain scatters, the second has none."""
    edits = int(source.rpartition("EDITS = ")[2]) if "EDITS" in source else 0
    scatter = 0.004 * (seed % 3) if edits == 3 else 0.0
    return 1.6 - sum(HERE[n] for n in range(1, edits + 1)) + scatter


def transferred(home: Path, *args: str) -> Any:
    done = run_here(home, "verify", "--json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_keep_is_labelled_and_nothing_opened(
    home_of_three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of_three
    played = answer(monkeypatch, score)
    found = transferred(home, "--budget", "4x", "--scale", "DEPTH=2x")
    assert found["split"] == "val" and found["opened"] == 0
    assert found["setting"] == "budget 4x, DEPTH 2x"
    labels = {one["trial"]: one["label"] for one in found["transfers"]}
    assert labels[1] == "transfers" and labels[2] == "budget-bound"
    assert found["transfers"][0]["gain"]["mean"] == pytest.approx(0.03)
    assert found["transfers"][0]["claimed"]["mean"] == GAIN
    for options in played.options:
        assert (options["budget"], options["split"]) == ("80s", "val")
    for files, n in zip(played.sources[::5], (1, 2, 3), strict=True):
        for file in files:
            depth = next(c.value for c in constants(file) if c.name == "DEPTH")
            assert depth == 2 * next(
                c.value for c in constants((home / "trainer/train.py").read_text())
                if c.name == "DEPTH"
            )  # fmt: skip
        assert f"EDITS = {n}" in files[1] and f"EDITS = {n}" not in files[0]
    assert not [event for event in events(home) if event["event"] == "opened"]
    words = "transfers at budget 4x, DEPTH 2x: +0.0300"
    for args in (["log"], ["show", "1"], ["report", "--markdown"]):
        assert words in run_here(home, *args).stdout.replace("\\", "")
    run_here(home, "report")
    assert words in (home / "campaigns/t/report.html").read_text()
    (told,) = as_json(home, "log")[1]["transfers"]
    assert told["label"] == "transfers" and told["setting"] == found["setting"]
    repo = Repo.open(home)
    trial = load(repo, "t").trials[1]
    note = json.loads(repo.read_note("t", trial.commit) or "")
    assert note["transfers"] == [told]
    assert note["gain"] == GAIN and note["title"] == "edit 1"


def test_a_constant_that_a_keep_has_added_blocks_only_its_own_row(
    home_of_three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = answer(monkeypatch, lambda source, seed: 1.5)
    found = transferred(home_of_three, "--scale", "EDITS=2x", "--seeds", "2")
    gains = [one["gain"] is not None for one in found["transfers"]]
    assert gains == [False, True, True] and len(played.seeds) == 4
    assert "EDITS = 2" in played.sources[0][0], "of the parent of trial 2, which had 1"
    first = found["transfers"][0]
    assert first["label"] == "undecided" and "the parent of trial 1" in first["ended"]
    text = run_here(home_of_three, "verify", "--scale", "EDITS=2x", "--seeds", "2").stdout
    assert "undecided: trial 1" in text and "not measured" in text


def test_it_is_on_fresh_seeds_each_time_and_says_whether_it_is_narrow(
    home_of_three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = answer(monkeypatch, score)
    args = ("--budget", "4x", "--within", "1e-5", "--each")
    found = transferred(home_of_three, *args)
    assert [one["is_within"] for one in found["transfers"]] == [True, True, False]
    assert [one["seeds"] for one in found["transfers"]] == [8, 8, 40]
    before = {seed for seed, _ in played.seeds}
    played.seeds.clear()
    text = run_here(home_of_three, "verify", *args).stdout
    assert " is NOT within ± 1e-05" in text and "not measured again" in text
    assert not before & {seed for seed, _ in played.seeds}


def test_a_kill_keeps_what_was_found(home_of_three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, asked = home_of_three, []

    def dying(source: str, seed: int) -> Score:
        asked.append(seed)
        if len(asked) > 2 * 5:
            raise MemoryError
        return score(source, seed)

    answer(monkeypatch, dying)
    with pytest.raises(MemoryError):
        run_here(home, "verify", "--budget", "2x")
    told = [one["transfers"] for one in as_json(home, "log")]
    assert [len(one) for one in told] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--budget", "x"], "factor"),
        (["--budget", "0x"], "factor"),
        (["--budget", "1x"], "factor"),
        (["--budget", "20s"], "campaign's own"),
        (["--budget", "soon"], "20s"),
        (["--budget", "1e9x"], "factor"),
        (["--budget", "99999999x"], "at most 30 days"),
        (["--scale", "DEPTH"], "DEPTH=0.5x"),
        (["--scale", "DEPTH=2"], "factor"),
        (["--scale", "DEPTH=2x", "--scale", "DEPTH=3x"], "once"),
        (["--scale", "DEEP=2x"], "it is no number in the file of the parent of trial 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    home_of_three: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    played = answer(monkeypatch, score)
    done = run_here(home_of_three, "verify", *args)
    assert done.returncode == 2 and not played.seeds
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and words in line


def test_a_file_that_is_broken_by_it_is_one_line(
    home_of_three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "check", lambda source, **_: CheckResult("crashed", "shapes"))
    done = run_here(home_of_three, "verify", "--scale", "DEPTH=2x")
    assert done.returncode == 2 and "crashed (shapes)" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("scales", "line"),
    [
        ({"DEPTH": 1.5}, "DEPTH = 4  # range 1..8"),
        ({"DEPTH": 2.0}, "DEPTH = 6  # range 1..8"),
        ({"RATE": 2.0}, "RATE = 0.02469"),
        ({"RATE": 2.0, "DEPTH": 1.4}, "DEPTH = 4  # range 1..8"),
    ],
)
def test_scaled(scales: dict[str, float], line: str) -> None:
    assert line in scaled(SOURCE, scales, "x").splitlines()


@pytest.mark.parametrize(
    ("name", "factor"), [("ZERO", 2.0), ("DEPTH", 1.1), ("BETA", 1.000001), ("NONE", 3.0)]
)
def test_a_factor_that_changes_nothing_is_refused(name: str, factor: float) -> None:
    with pytest.raises(CampaignError, match=f"--scale {name}=.*stays the same in the file of x"):
        scaled(f"{SOURCE}ZERO = 0\nNONE = 0.0\nBETA = 0.5\n", {"SEQ_LEN": 2.0, name: factor}, "x")


@pytest.mark.parametrize("name", ["NAME", "FAST", "SIZES", "OTHER"])
def test_only_numbers_can_be_scaled(name: str) -> None:
    with pytest.raises(CampaignError, match=f"--scale {name}: it .* there are VOCAB_SIZE, .*RATE"):
        scaled(SOURCE, {name: 2.0}, "x")


@pytest.mark.parametrize(
    ("home", "budget", "scales", "words", "there"),
    [
        ("20s", "4x", [], "budget 4x", "80s"),
        ("20s", "4.0x", ["B=2x", "A=.5x"], "budget 4x, A 0.5x, B 2x", "80s"),
        ("20s", "2m", [], "budget 120s", "120s"),
        ("300tok", "0.5x", [], "budget 0.5x", "150tok"),
        ("300tok", "", ["A=2x"], "A 2x", "300tok"),
    ],
)
def test_elsewhere(home: str, budget: str, scales: list[str], words: str, there: str) -> None:
    found = elsewhere(budget, scales, home)
    assert (found.words, found.budget) == (words, there)


def test_elsewhere_refuses_what_is_no_budget() -> None:
    with pytest.raises(UserError):
        elsewhere("-4x", [], "20s")
