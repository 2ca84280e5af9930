"""The parts of the benchmark of the prior; its campaigns are the benchmark itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.learner import FEATURES, WEIGHTS
from benchmarks.landed_prior import LandedPrior
from benchmarks.prior import figures, landscape, play, published, recorded, replay, train, tune
from benchmarks.prior.arms import GRIDS
from benchmarks.prior.families import SYNTHETIC, Outcome, Simulated
from benchmarks.prior.play import KINDS, TUNE, Cell, make, world
from benchmarks.prior.published import CATEGORIES, Row, classify

SETTLED: dict[str, dict[str, Any]] = {
    name: settings[len(settings) // 2] for name, settings in tune.SETTINGS.items()
}
SETTLED["context"] = {"weights": np.ones(len(FEATURES))}


@pytest.mark.parametrize("name", KINDS)
def test_an_arm_finds_the_better_of_two(name: str) -> None:
    """Of those that learn; the others draw both alike. All keep to what is available."""
    cell, rows = Cell("stationary", 200, 2), np.arange(40)
    arm = make(name, cell, 40, 0, SETTLED[name])
    generator, drawn = np.random.default_rng(0), np.zeros(2)
    for trial in range(200):
        free = np.ones((40, 2), bool)
        if trial % 10 == 9:
            free[:, trial // 10 % 2] = False
        choice = arm.choose(free)
        assert free[rows, choice].all()
        reward = np.clip(np.where(choice == 1, 0.4, -0.1) + generator.normal(0, 0.1, 40), -0.2, 1)
        arm.learn(choice, Outcome(reward, np.zeros(40, bool), reward > 0))
        drawn += np.bincount(choice, minlength=2)
    share = drawn[1] / drawn.sum()
    assert share == pytest.approx(0.5, abs=0.05) if name in OTHERS_THAT_LEARN_NOT else share > 0.53


OTHERS_THAT_LEARN_NOT = ("uniform", "round-robin")


def test_all_arms_have_as_many_settings_to_be_tuned_in() -> None:
    sizes = {name: len(settings) for name, settings in tune.SETTINGS.items()}
    assert {sizes.pop(name) for name in (*OTHERS_THAT_LEARN_NOT, "landed rule")} == {1}
    assert set(sizes.values()) == {16}
    assert set(tune.SETTINGS) == set(KINDS) and set(GRIDS) < set(KINDS)


@pytest.mark.parametrize("name", [name for name in KINDS if len(tune.SETTINGS[name]) > 1])
def test_settings_that_are_played_at_once_differ(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "CAMPAIGNS", 3)
    monkeypatch.setattr(tune, "tuning_cells", lambda family: [Cell(family, 45, 6)])
    found = tune.scores(
        name, "crash", {"weights": [0.5] * len(FEATURES)} if name == "context" else {}
    )
    assert len(found) == 16 and len(set(found)) > 8 and np.isfinite(found).all()


@pytest.mark.parametrize("family", SYNTHETIC)
def test_what_is_expected_is_what_comes_on_average(family: str) -> None:
    place, rng = Simulated(family, 20, 6, 4000, 5), np.random.default_rng(0)
    expected, got = 0.0, 0.0
    for _ in range(20):
        choice = rng.integers(6, size=4000)
        expected += place.expected()[np.arange(4000), choice].mean()
        got += place.pull(choice).reward.mean()
    assert got / 20 == pytest.approx(expected / 20, abs=0.002)


@pytest.mark.parametrize("family", SYNTHETIC)
def test_repeats_are_the_same_campaign(family: str) -> None:
    place = Simulated(family, 5, 6, 8, 5, repeats=4)
    for _ in range(5):
        assert (place.expected()[:4] == place.expected()[0]).all()
        assert (place.expected()[0] != place.expected()[4]).all()
        assert len(set(place.pull(np.full(8, 2)).reward[:4])) == 1


def test_the_oracle_is_one_and_uniform_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "chosen", lambda name, family: SETTLED[name])
    found = figures.in_cell(Cell("crash", 50, 6), 40, ("uniform", "UCB1", "plain", "context"))
    assert found["scores"]["uniform"] == 0
    assert 0.1 < found["scores"]["UCB1"] < 1 and found["best_other"] == "UCB1"
    assert figures.scaled(5.0, 1.0, 5.0) == 1 and figures.scaled(1.0, 1.0, 5.0) == 0
    place = world(Cell("drift", 30, 6), 20, TUNE)
    for _ in range(30):
        values = place.expected()
        assert (values[np.arange(20), place.best()] == values.max(axis=1)).all()
        place.pull(place.best())
    monkeypatch.setitem(SETTLED, "plain", {"step": 0.1})
    equal = figures.in_cell(Cell("equal", 50, 6), 20, ("uniform", "UCB1", "plain"))
    assert equal["collapsed"] == {"uniform": 0, "UCB1": None, "plain": 0}
    assert equal["stuck"]["uniform"] == 0 and 0 <= equal["stuck"]["UCB1"] <= 1


def test_what_was_asked_is_judged_by_the_worst_cell_and_the_mean() -> None:
    def cell(plain: float, context: float, is_lost: bool) -> dict[str, Any]:
        ours = {"not_lost": not is_lost}
        scores = {"uniform": 0.0, "UCB1": 0.4, "plain": plain, "context": context}
        place = {"family": "drift", "horizon": 50, "categories": 6}
        return {**place, "scores": scores, "plain": ours, "context": ours}

    equal = {
        "collapsed": {"uniform": 0.0, "UCB1": None, "plain": 0.02, "context": 0.0},
        "stuck": {"uniform": 0.0, "UCB1": 0.3, "plain": 0.1, "context": 0.0},
        "ever_above": {"plain": 0.5, "context": 0.1},
    }
    found = figures.summary(
        [cell(0.1, 0.5, False), cell(-0.03, 0.4, False), cell(0.2, 0.4, True), equal]
    )
    assert found["best_other"] == "UCB1" and found["means"]["UCB1"] == 0.4
    assert found["most_stuck"]["UCB1"] == 0.3 and "UCB1" not in found["most_collapsed"]
    asked = ("never_below", "hardly_collapses", "two_thirds_not_lost", "best_mean")
    assert [found["context"][name] for name in asked] == [True, True, True, True]
    assert [found["plain"][name] for name in asked] == [False, False, True, False]


def test_a_family_is_held_out_of_tuning_and_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tuning.jsonl"
    settings = tune.SETTINGS["UCB1"]
    of_drift, of_switch = np.zeros((2, len(settings)))
    of_drift[9], of_switch[3], of_switch[9] = 0.9, 0.5, 0.1
    path.write_text(
        "".join(
            json.dumps({"arm": "UCB1", "family": family, "settings": settings, "scores": scores})
            + "\n"
            for family, scores in (("drift", list(of_drift)), ("switch", list(of_switch)))
        )
    )
    assert tune.chosen("UCB1", "drift", path) == settings[3]  # though another did better there
    assert tune.chosen("UCB1", "crash", path) == settings[9]
    with pytest.raises(SystemExit, match="no weights without drift"):
        tune.chosen("context", "drift", path)

    trained_on: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        train, "train", lambda families: trained_on.append(families) or np.ones(len(FEATURES))
    )
    tune.train_all(path)
    tune.train_all(path)  # all are there: nothing is trained again
    there = [family for family in play.FAMILIES if play.is_recorded(family)]
    left_out = [{family} for family in there if family != "equal"]
    assert [set(there) - set(mine) for mine in trained_on] == [set(), *left_out]
    assert tune.trained("context", "drift", path)["weights"] == [1.0] * len(FEATURES)


def test_training_sees_only_its_families(monkeypatch: pytest.MonkeyPatch) -> None:
    played: set[str] = set()

    def spied(cell: Cell, count: int, salt: int, repeats: int = 1) -> Any:
        played.add(cell.family)
        return world(cell, count, salt, repeats)

    monkeypatch.setattr(train, "world", spied)
    monkeypatch.setattr(play, "world", spied)
    monkeypatch.setattr(train, "SHARES", (1.0, 0.0, 0.0))
    monkeypatch.setattr(train, "CAMPAIGNS", 2)
    weights = train.train(("crash", "equal"), rounds=3)
    assert played == {"crash", "equal"}
    assert np.isfinite(weights).all() and np.abs(weights).max() > 0


def test_training_climbs() -> None:
    """A step along the gradient brings more than the weights before it, on the same luck."""
    place = [train.Several([world(Cell("crash", 30, 6), 800, 11, train.REPEATS)]) for _ in "ab"]
    lead, equal = np.ones(800), np.zeros(800, bool)
    before = np.zeros(len(FEATURES))
    slope = train.gradient(before, place[0], lead, equal, 0)
    numbers = [{"weights": w} for w in (before, before + 2 * slope / np.abs(slope).max())]
    first, second = (
        play.result("context", Cell("crash", 30, 6), 800, 12, each).total.mean() for each in numbers
    )
    assert second > first


def test_the_landed_rule_is_what_it_was() -> None:
    """As computed for the issue: an old reading climbs by itself, from 0.19 to 0.72."""
    prior, free = LandedPrior(1, 10), np.ones((1, 10), bool)
    for number, reward in (*((i, -0.1) for i in range(9)), (9, 1.0)):
        prior.update(np.array([number]), np.array([reward]), free)
    assert prior.probabilities(free)[0, 9] == pytest.approx(0.19, abs=0.01)
    for number in range(9):
        prior.update(np.array([number]), np.array([-0.1]), free)
    assert prior.probabilities(free)[0, 9] == pytest.approx(0.72, abs=0.01)


@pytest.mark.parametrize(
    ("words", "category"),
    [
        ("Raise HEAD_LR from 0.01 to 0.02 so that the head learns faster", "hyperparameters"),
        ("Halve the batch size", "hyperparameters"),
        ("lower TOTAL_BATCH_SIZE with the proven warm-up", "hyperparameters"),
        ("Decrease EMBEDDING_LR to 0.2", "hyperparameters"),
        ("Linear warm-down over the last 60 %", "schedule"),
        ("Set WARMUP_RATIO to 0.02", "schedule"),
        (
            "Apply all proven best settings (2^17 batch, 0.5 dropout) and cosine annealing",
            "schedule",
        ),
        ("Ramp the weight decay schedule up", "schedule"),
        ("Weight decay 0.1 for the embeddings", "regularisation"),
        ("Add z-loss of 1e-4 to the logits", "regularisation"),
        ("Clipping at norm 1", "regularisation"),
        ("Adam beta2 0.95 to 0.99", "optimizer"),
        ("Nesterov in Muon, with all current best settings: MATRIX_LR=0.03", "optimizer"),
        ("Two more layers, DEPTH 8 to 10", "architecture"),
        ("SwiGLU in place of relu squared", "architecture"),
        ("Initialise the output weights orthogonally", "initialisation"),
        ("torch.compile with max-autotune", "efficiency"),
        ("Larger vocabulary, 8192 tokens", "preprocessing"),
        ("Remove unused branches", "simplification"),
        ("Write the train loss smoother", None),
    ],
)
def test_the_rule_for_published_trials(words: str, category: str | None) -> None:
    assert classify(words) == category


def test_published_campaigns_are_numbers(tmp_path: Path) -> None:
    logs = tmp_path / "logs.tsv"
    logs.write_text(
        "campaign\tn\tstatus\tval_bpb\tdescription\n"
        "secret name\t0\tbaseline\t1.5\tbaseline\n"
        "secret name\t1\tkeep\t1.4\tDEPTH 8\n"
        "secret name\t2\tdiscard\t1.45\tset MATRIX_LR to 1\n"
        "secret name\t3\tcrash\t0.0\tdropout\n"
        "secret name\t4\tskip\t0.0\t\n"
    )
    rows = published.derive(logs, {1: "architecture", 3: "schedule"})
    assert [row.gain for row in rows] == [
        None,
        pytest.approx(0.1),
        pytest.approx(-0.05),
        None,
        None,
    ]
    assert published.agreement(rows) == (1, 2)
    published.write(rows, tmp_path / "table.csv")
    assert published.read(tmp_path / "table.csv") == rows
    assert "secret" not in (tmp_path / "table.csv").read_text()


def test_the_committed_table_has_a_hundred_rows_judged_by_a_reader() -> None:
    same, judged = published.agreement(published.read())
    assert judged == 100 and same >= 90
    assert {row.category for row in published.read()} <= {"", *CATEGORIES}


def test_a_replay_spends_one_trial_within_the_window_at_a_time() -> None:
    place, rows = recorded.Published(40, 1, repeats=2), np.arange(40)
    for trial in range(place.steps):
        free, left = place.available(), place.left()
        assert free.any(axis=1).all()
        choice = place.best()
        assert free[rows, choice].all()
        place.pull(choice)
        spent = left & ~place.left()
        assert (spent.sum(axis=1) == 1).all()
        first = int(recorded.STRIDE * trial)
        assert (np.argmax(spent, axis=1) >= first).all()
        assert (np.argmax(spent, axis=1) < first + recorded.WINDOW).all()


def test_what_other_campaigns_lend_has_nothing_of_the_one_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs = dict(recorded.campaigns())
    number, other = list(logs)[:2]
    before = replay.lent(number), replay.lent(other)
    logs[number] = tuple(Row(number, i, "schedule", "keep", 1.0) for i in range(90))
    monkeypatch.setattr(replay, "campaigns", lambda: logs)
    assert replay.lent(number) == before[0]
    assert replay.lent(other) != before[1]


def test_the_landscape_is_left_out_until_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, "edits", lambda: {})
    assert "landscape" not in {cell.family for cell in play.cells()}
    monkeypatch.setattr(
        landscape,
        "edits",
        lambda: {
            "plain": {"schedule": ((0.04, 0.04), (0.0, 0.0)), "dataset": ((None, None),)},
            "shipped": {"optimizer": ((0.002, -0.002),)},
        },
    )
    assert "landscape" in {cell.family for cell in play.cells()}
    place = world(Cell("landscape", 50, 6), 4, TUNE)
    assert (place.available().sum(axis=1) == [2, 1, 2, 1]).all()
    kept, crashed = np.zeros(4), np.zeros(4)
    for _ in range(6):
        outcome = place.pull(place.best())
        kept, crashed = kept + outcome.kept, crashed + outcome.crashed
    assert kept.tolist() == [1, 0, 1, 0]  # what was kept is not proposed again
    assert crashed.tolist() == [0, 0, 0, 0]  # the oracle knows better


def test_what_ships_is_what_was_trained_on_all_families() -> None:
    assert tune.trained("context", tune.ALL, tune.FILE)["weights"] == list(WEIGHTS)


def test_a_family_that_came_later_needs_no_new_training(tmp_path: Path) -> None:
    path, sizes = tmp_path / "tuning.jsonl", len(FEATURES)
    trainings = [
        {"without": tune.ALL, "trained_on": ["drift", "crash"], "weights": [1.0] * sizes},
        {"without": "drift", "trained_on": ["crash"], "weights": [2.0] * sizes},
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in trainings))
    found = [
        tune.trained("context", f, path)["weights"][0] for f in ("landscape", "drift", "equal")
    ]
    assert found == [1.0, 2.0, 1.0]
    with pytest.raises(SystemExit):
        tune.trained("context", "crash", path)
