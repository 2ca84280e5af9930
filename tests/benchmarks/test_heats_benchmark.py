"""The benchmark of heats: its plan, resuming, and what it computes from readings."""

from __future__ import annotations

import itertools
import json
import math
import random

import pytest

from agent.judge import Noise
from benchmarks import heats, landed_judge
from benchmarks import heats_analysis as analysis
from benchmarks import heats_keeps as keeps
from benchmarks import heats_plan as plan
from benchmarks.heats_plan import Case
from benchmarks.neighbour import CORES, LONGEST
from benchmarks.neighbour import plan as neighbour_plan
from trainer.presets import BadSetting

MACHINE = "a machine"
ROLES = ("champion", "structural", "numeric")
NULL = Case("nulls", "as shipped", 0, 2.5, True)


def training(role="champion", val_bpb=2.0, *, how="side by side", curve=(), **more):
    return {
        "role": role, "status": "ok", "how": how, "val_bpb": val_bpb, "curve": list(curve),
        "steps": 20, "train_seconds": 2.0, "score_seconds": 1.0, **more,
    }  # fmt: skip


def run(*trainings, wall_seconds=10.0):
    return {"wall_seconds": wall_seconds, "trainings": list(trainings)}


def null_reading(champion, structural, numeric, number=0, name="as shipped"):
    case = {"part": "nulls", "name": name, "number": number, "seconds": 2.5, "neighbour": True}
    scores = (champion, structural, numeric)
    heat = run(*(training(role, score) for role, score in zip(ROLES, scores, strict=True)))
    return case | {"machine": MACHINE, "code": "c", "runs": [heat]}


def edit_reading(apart, heat, number=0, name="MLP_RATIO 3", curves=((), ())):
    """``apart``: champion and edit; ``heat``: champion, one seed, other seed."""
    case = {"part": "edits", "name": name, "number": number, "seconds": 5, "neighbour": True}
    first = training("champion", heat[0], curve=curves[0])
    second = training("one seed", heat[1], curve=curves[1])
    runs = [
        run(training("champion", apart[0], how="alone")),
        run(training("edit", apart[1], how="alone")),
        run(first, second, training("other seed", heat[2])),
    ]
    return case | {"machine": MACHINE, "code": "c", "runs": runs}


def heats_of(scale, champions=4, number=40):
    """Null heats of normal differences, and of scores that also scatter between heats."""
    dice = random.Random(0)
    found = []
    for n in range(champions * number):
        pace = dice.gauss(2.0, 2 * scale)
        scores = {role: pace + dice.gauss(0, scale / math.sqrt(2)) for role in ROLES}
        found.append(analysis.NullHeat(str(n % champions), scores))
    return found


def test_the_neighbours_plan_is_seeded():
    first = list(itertools.islice(neighbour_plan("a"), 200))
    assert first == list(itertools.islice(neighbour_plan("a"), 200))
    assert first != list(itertools.islice(neighbour_plan("b"), 200))
    assert {cores for cores, _ in first} == set(range(CORES + 1))
    assert all(1 <= seconds <= LONGEST for _, seconds in first[1:])


def test_what_is_most_wanted_comes_first_and_champions_take_turns():
    order = plan.cases(plan.PARTS)
    nulls = [case.name for case in order[: 2 * len(plan.CHAMPIONS)]]
    assert nulls == [*plan.CHAMPIONS, *plan.CHAMPIONS]
    assert len(plan.CHAMPIONS) >= 10 and len(plan.cases(["nulls"])) >= 150
    assert len(set(order)) == len({case.key for case in order}) == len(order)


def test_null_heats_differ_in_a_seed_or_in_the_last_digits_of_a_constant():
    files = set()
    for name in plan.CHAMPIONS:
        ((champion, structural, numeric),) = plan.runs(Case("nulls", name, 1, 2.5, True))
        assert champion.source == structural.source != numeric.source
        assert champion.seed == numeric.seed != structural.seed
        lines = (entry.source.split("\n") for entry in (champion, numeric))
        (changed,) = (both for both in zip(*lines, strict=True) if len(set(both)) > 1)
        before, after = (float(line.split()[2]) for line in changed)
        assert after / before == pytest.approx(1 + 1e-6, rel=1e-9)
        files.add(champion.source)
    assert len(files) == len(plan.CHAMPIONS)


def test_an_edit_is_compared_three_ways_with_seeds_of_its_own():
    for number in (0, 1):
        runs = plan.runs(Case("edits", "MLP_RATIO 3", number, 5, True))
        (heat,) = (run for run in runs if len(run) == 3)
        champion, edit = (run[0] for run in runs if len(run) == 1)
        assert heat[0].source == champion.source != heat[1].source == heat[2].source == edit.source
        assert len({heat[0].seed, heat[2].seed, champion.seed, edit.seed}) == 4
        assert heat[0].seed == heat[1].seed
        assert runs.index((edit,)) == runs.index((champion,)) + 1
        assert runs.index(heat) == (2 if number else 0)
    for name in plan.edits():
        assert (plan.edited(name) != plan.shipped()) == (name != "the same file")
    kinds = [plan.kind_of(name) for name in plan.first_of_each_kind()]
    assert kinds == ["null", "numeric", "structural"]


def test_a_curve_is_reduced_to_means_of_equal_windows():
    curve = [(0.01, 0, 7.0), (0.1, 1, 6.0), (1.0, 2, 5.0), (2.6, 9, 3.0)]
    found = heats.reduced(curve, 2.5)
    assert (len(found), found[0], found[8], found[-1]) == (20, 6.5, 5.0, 3.0)
    assert [loss for loss in found if loss is not None] == [6.5, 5.0, 3.0]


def test_a_line_that_a_kill_cut_short_costs_one_reading(tmp_path):
    path = tmp_path / "results" / "readings.jsonl"
    heats.append(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2, "ru')
    heats.append(path, {"n": 3})
    assert heats.read_file(path) == [{"n": 1}, {"n": 3}] and not heats.read_file(tmp_path / "none")


def test_collecting_goes_on_where_it_stopped(monkeypatch, tmp_path):
    taken, path = [], tmp_path / "readings.jsonl"

    def read(case):
        taken.append(case.name)
        if case.name == "gelu":
            raise BadSetting("on purpose")
        return null_reading(2, 2, 2, case.number, case.name) | {"code": plan.code_of(case)}

    monkeypatch.setattr(heats, "read", read)
    names = ("as shipped", "gelu", "narrow")
    wanted = [Case("nulls", name, 0, 2.5, True) for name in names]
    monkeypatch.setattr(heats, "cases", lambda parts: wanted)
    assert [heats.collect(["nulls"], MACHINE, path) for _ in range(2)] == [1, 1]
    assert taken == ["as shipped", "gelu", "narrow", "gelu"]
    assert [reading["name"] for reading in heats.read_file(path)] == ["as shipped", "narrow"]


def test_readings_of_another_machine_or_file_are_taken_again_and_the_last_counts(monkeypatch):
    old, new = (null_reading(n, n, n) | {"code": plan.code_of(NULL)} for n in (1.0, 2.0))
    assert NULL not in heats.to_do(["nulls"], [new], MACHINE)
    assert NULL in heats.to_do(["nulls"], [new], "another machine")
    assert NULL in heats.to_do(["nulls"], [new | {"code": "of another file"}], MACHINE)
    elsewhere = new | {"machine": "another machine"}
    assert heats.latest([old, new, elsewhere], MACHINE) == [new]
    monkeypatch.setattr("trainer.training.heat.STEPS_PER_TURN", 7.0)
    assert NULL in heats.to_do(["nulls"], [new], MACHINE)


def test_a_reading_with_a_failed_training_or_out_of_turn_is_not_used():
    good, failed, late = (null_reading(2.0, 2.0, 2.0, n) for n in range(3))
    failed["runs"][0]["trainings"][1] |= {"status": "overtime", "val_bpb": None}
    late["runs"][0]["trainings"][1]["how"] = "in turn"
    assert [analysis.is_sound(reading) for reading in (good, failed, late)] == [True, False, False]
    assert len(analysis.null_heats([good, failed, late])) == 1
    (counted,) = heats.counts([good, failed, late]).items()
    assert counted == ("nulls, 2.5 s, with a neighbour", {"readings": 3, "unsound": 2})


def test_the_noise_is_pooled_about_the_mean_of_each_edit():
    """Apart +-4, in turns +-2, with one seed +-1, about means of 0 and 100."""
    edits = {
        name: [(mean + 4 * s, mean + 2 * s, mean + s) for s in (-1, 1, -1, 1, -1, 1)]
        for name, mean in (("a", 0), ("b", 100))
    }
    found = analysis.noise(edits)
    expected = math.sqrt(12 / 10)
    sds = [each["sd"] / expected for each in found["sd"].values()]
    assert sds == pytest.approx([4, 2, 1], abs=1e-4)
    assert found["in turns, one seed of apart"]["ratio"] == 0.25
    assert found["in turns, one seed of apart"]["interval"] == pytest.approx([0.25, 0.25])
    low, high = found["sd"]["apart"]["interval"]
    assert low < 4 * expected < high
    assert found["mean"]["in turns"] == [0, 100] and analysis.noise({"a": [(1, 2, 3)]}) == {}


def test_the_noise_table_is_by_budget_and_kind():
    names = ("MLP_RATIO 3", "DEPTH 2", "ADAM_BETA2 0.963")
    readings = [edit_reading((2, 2 + n), (3, 2, 4), n, name) for name in names for n in range(3)]
    assert analysis.ways(readings[1]) == (-1, -1, 1)
    table = analysis.noise_table([*readings, null_reading(1, 1, 1)])["5 s, with a neighbour"]
    counts = {name: found["readings"] for name, found in table.items()}
    assert counts == {"all structural": 6, "all numeric": 3} | dict.fromkeys(names, 3)
    assert table["all numeric"]["sd"]["apart"]["sd"] == 1


def test_the_spread_of_nulls_is_about_zero_and_of_scores_about_each_champion():
    readings = [
        null_reading(base + step, base + step + 0.1, base + step - 0.2, 1 + step, name)
        for name, base, step in (("wide", 2, -1), ("wide", 2, 1), ("gelu", 5, -1), ("gelu", 5, 1))
    ]
    found = analysis.null_spread(analysis.null_heats(readings))["all champions"]
    assert found["score_sd"] == pytest.approx(math.sqrt(2), abs=1e-5)
    assert (found["structural_sd"], found["structural_mean"]) == (0.1, -0.1)
    assert (found["numeric_sd"], found["numeric_mean"], found["numeric_kurtosis"]) == (0.2, 0.2, 1)
    assert analysis.null_spread([]) == {}


def test_what_unequal_steps_do_to_scores_is_told_by_regression():
    """Twice the steps are worth 0.1; the numeric ones have as many, and scatter by themselves."""
    readings = [null_reading(2.0, 2.0 - 0.1 * s, 2.0 - 0.01 * s, s) for s in (-1, 0, 1)]
    for reading, steps in zip(readings, (10, 20, 40), strict=True):
        reading["runs"][0]["trainings"][1]["steps"] = steps
    found = analysis.pace_within_heats(readings)
    assert list(found["structural"].values()) == [3, 0.566, 1.0, 0.08165, 0]
    assert list(found["numeric"].values()) == [3, 0, None, 0.00816, 0.00816]


def test_early_losses_are_correlated_within_and_across_edits():
    """At a quarter the loss says all about each edit's luck, at the end its opposite."""
    readings = []
    for name, effect in (("MLP_RATIO 3", 1.0), ("DEPTH 2", -1.0)):
        for number, luck in enumerate((-0.1, 0.0, 0.1)):
            gain = effect + luck
            curves = [5.0] * 20, [5.0 - gain] * 10 + [5.0 - effect + luck] * 10
            readings.append(edit_reading((0, 0), (2.0, 2.0 - gain, 9.0), number, name, curves))
    found = analysis.early_losses(readings)["edits, structural, one seed, 5 s, with a neighbour"]
    assert found["25%"] == {"n": 6, "within": 1.0, "all": 1.0, "same_sign": 1.0}
    assert found["90%"]["within"] == -1.0 and found["90%"]["all"] > 0.9
    curve = [9.0, 8.0, 7.0, None, 5.0, None, None, None, 1.0, 0.0]
    assert [analysis.loss_at(curve, share) for share in (0.1, 0.5, 0.8)] == [9.0, 6.0, None]


def test_the_cost_of_turns_is_against_the_mean_of_alone_before_and_after():
    case = {"part": "turns", "name": "alone", "number": 0, "seconds": 20, "neighbour": False}
    runs = [
        run(training("alone", how="alone", steps=40), wall_seconds=4.0),
        run(training("first", steps=24), training("second", steps=30), wall_seconds=8.0),
        run(training("alone", how="alone", steps=20), wall_seconds=3.5),
    ]
    found = analysis.turn_cost([case | {"runs": runs}])["20 s, quiet"]
    assert found["pace_share"]["median"] == 0.9
    assert found["pace_change_alone"]["median"] == 0.5
    assert found["heat_overhead_seconds"]["median"] == 2.0
    assert found["alone_overhead_seconds"]["median"] == 1.5


def test_null_trials_have_no_gain_even_if_the_heats_that_were_read_had():
    """Whoever was the champion was always worse by one; a gain of an edit shifts it all."""
    heat = analysis.NullHeat("a", {"champion": 3.0, "structural": 2.0, "numeric": 2.0})
    world = keeps.World([heat], "structural", random.Random(0))
    drawn = [world.difference() for _ in range(400)]
    assert set(drawn) == {-1.0, 1.0} and abs(sum(drawn)) < 80
    assert {world.champion() for _ in range(50)} == {world.candidate() for _ in range(50)}
    better = keeps.World([heat], "structural", random.Random(0), gain=0.25)
    assert {better.difference() for _ in range(50)} == {-0.75, 1.25}
    assert {better.candidate() for _ in range(50)} == {1.75, 2.75}


def test_intervals_and_known_noise():
    assert keeps.wilson(5, 100) == pytest.approx([0.02154, 0.11175], abs=2e-5)
    assert keeps.wilson(0, 10) == pytest.approx([0.0, 0.27754], abs=2e-5)
    assert keeps.wilson(0, 0) == [0, 1]
    found = heats_of(0.02, number=100)
    for kind in keeps.KINDS:
        assert keeps.known_noise(found, kind).scale == pytest.approx(0.02, rel=0.15)
    assert keeps.known_sigma(found).sigma == pytest.approx(math.hypot(0.04, 0.0141), rel=0.15)


class Keeps:
    """A rule that keeps what is worth so much, from a trial on, with four trainings each."""

    def __init__(self, gain, trial):
        self.gain, self.trial_number, self.trials = gain, trial, 0

    def trial(self, world):
        self.trials += 1
        return keeps.Outcome(self.trials >= self.trial_number and world.gain >= self.gain, 4)


def test_false_keeps_are_counted_and_the_smallest_gain_is_found():
    worlds = keeps.worlds(heats_of(0.01), "numeric", 10, 0)
    found = keeps.false_keeps(lambda: Keeps(0, 6), worlds)
    assert found["at_trial"][1]["share"] == 0 and found["at_trial"][1]["n"] == 10
    assert (found["at_trial"][6]["share"], found["at_trial"][6]["n"]) == (1, 10)
    assert found["at_trial"][20] == {"share": None, "interval": [0.0, 1.0], "n": 0}
    assert found["within_trials"][6]["share"] == found["within_trials"][20]["share"] == 1
    assert found["trainings_per_trial"] == 4
    # gains are sought after trials that were reverted
    found = keeps.smallest_gain(lambda: Keeps(0.3, 3), worlds, trial=3, unit=0.05)
    assert found["gain"] == pytest.approx(0.3, abs=0.8 / 2**keeps.STEPS)
    assert (found["kept"], found["trainings"], found["trainings_of_nulls"]) == (1, 4, 4)
    assert found["at_equal_time"] == pytest.approx(2 * found["gain"])
    assert keeps.smallest_gain(lambda: Keeps(0.3, 3), worlds, 2, 0.05)["gain"] == 0.8


def test_rules_keep_luck_as_rarely_as_they_say_and_find_gains():
    found = heats_of(0.02)
    drawn = keeps.worlds(found, "structural", 300, 0)
    makers = keeps.makers(found, "structural", "confirm", Noise(0.005, 4.0))
    for name in ("heats, noise known", "landed, noise known"):
        begun = [makers[name]() for _ in drawn]
        kept, trainings = keeps.power(begun, drawn, 0.0)
        assert 0.01 < kept < 0.1 and 1 <= trainings < 6
        assert keeps.power(begun, drawn, 0.3)[0] > 0.95
    (learnt,) = keeps.after_reverts(makers["heats, learnt from half"], drawn[:1], 30)
    assert 0.01 < learnt.known.scale < 0.04
    assert len(learnt.past) == 30 and not any(kept for _, kept in learnt.past)
    small = [keeps.smallest_gain(makers[n], drawn, 6, 0.02)["gain"] for n in list(makers)[:2]]
    assert small[0] < small[1], "heats do not see what scatters between them"


def test_the_landed_rule_is_what_it_was_and_measures_a_young_champion_again():
    heat = analysis.NullHeat("a", dict.fromkeys(("champion", "numeric"), 2.0))
    world = keeps.World([heat], "numeric", random.Random(0), gain=-1.0)
    campaign = keeps.Landed("confirm", landed_judge.Noise(0.01, 9.0))
    assert [campaign.trial(world).trainings for _ in range(4)] == [2, 2, 1, 1]
    assert len(campaign.champion) == 3
    assert keeps.Landed("greedy", campaign.noise).trial(world) == keeps.Outcome(False, 1)
    judge = landed_judge.Judge("confirm", 1.0)
    for champion, candidate, answer in (
        ([], [], "champion"), ([10.0], [], "candidate"), ([10.0], [10.2], "candidate"),
        ([10.0], [10.5], "revert"), ([10.0] * 6, [9.1, 9.1], "candidate"),
        ([10.0], [9.0, 2.0], "keep"), ([10.0, 10.0], [0.0, 10.5, 10.5], "revert"),
    ):  # fmt: skip
        assert judge.verdict(champion, candidate) == answer
    assert landed_judge.t_quantile(0.975, 4) == pytest.approx(2.776445, rel=2e-4)
    pooled = landed_judge.pooled_sigma([[1.0, 1.2], [5.0], [2.0, 2.1, 2.2]], 0.1, 2)
    assert pooled == landed_judge.Noise(pytest.approx(math.sqrt(0.06 / 5)), 5)


def test_all_figures_can_be_written_down(monkeypatch):
    monkeypatch.setattr(keeps, "STEPS", 2)
    dice = random.Random(0)
    scores = [[dice.gauss(2, 0.02) for _ in range(3)] for _ in range(8)]
    readings = [null_reading(*each, n, ("narrow", "gelu")[n % 2]) for n, each in enumerate(scores)]
    found = json.loads(json.dumps(heats.figures(readings, 5)))
    assert found["counts"] == {"nulls, 2.5 s, with a neighbour": {"readings": 8, "unsound": 0}}
    assert len(found["rules"]) == 2 * 3 * 6
    rule = found["rules"]["numeric, confirm, heats, noise known"]
    assert set(rule["gain_kept_half_of_the_time"]) == {"1", "6", "20"}
    assert heats.figures([], 5)["rules"] == {}
