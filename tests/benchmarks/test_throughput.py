"""The benchmark of throughput: its campaigns of several candidates a heat, and what it reads."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from events import Story

from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from agent.edits.blocks import parse
from agent.models.choose import open_model
from agent.models.types import Part, Prompt
from benchmarks.landscape import plan
from benchmarks.landscape.table import read_heats
from benchmarks.machine import ROOT
from benchmarks.throughput import __main__ as throughput
from benchmarks.throughput import growth, hidden, nodes, real, widths
from benchmarks.throughput.between import between_heats
from benchmarks.throughput.recorded import KINDS, Ground, Known
from benchmarks.throughput.simulated import Heats, Landed, Outcome
from trainer import contract, measure


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground(read_heats(), "plain")


def campaign(ground: Ground, edit: Known, width: int, trials: int = 12) -> Heats:
    return Heats(ground, lambda _: edit, trials, "a seed", width=width)


def worth(ground: Ground, scales: float) -> Known:
    """An edit that is worth so many scales of the noise, all along its training."""
    gain = scales * ground.noise["numbers"].scale
    return replace(ground.null("numbers"), gain=gain, course=(gain,) * 20)


# --- recorded luck ---


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_heat_is_drawn_for_any_company(ground: Ground, count: int) -> None:
    dice = random.Random(0)
    for _ in range(50):
        kinds = dice.choices(KINDS, k=count)
        drawn = ground.draw(kinds, dice)
        there = {kind: {x for c in ground.companies for x in c.of[kind]} for kind in KINDS}
        assert all(luck in there[kind] for luck, kind in zip(drawn, kinds, strict=True))


def test_candidates_of_one_heat_share_a_champions_luck_and_luck_is_no_gain(ground: Ground) -> None:
    told = ground.alike(500)
    assert all(0.05 < told[kind]["recorded"] < 0.5 for kind in KINDS)
    assert told["structure"]["drawn"] > 0.05
    for kind in KINDS:
        found = [luck.difference for company in ground.companies for luck in company.of[kind]]
        assert sum(found) == pytest.approx(0.0, abs=1e-9)


def test_a_gain_is_less_than_what_was_measured_of_it(ground: Ground) -> None:
    best = max(ground.edits, key=lambda edit: edit.gain)
    (rows,) = [rows for name, rows in ground._by_edit.items() if name == best.name]
    assert 0 < best.gain < sum(row.difference for row in rows) / len(rows)


# --- campaigns ---


def test_every_trial_that_is_begun_gets_a_verdict(ground: Ground) -> None:
    for width in (1, 4):
        made = campaign(ground, ground.null("structure"), width)
        assert len(list(made.outcomes())) == 12
        assert made.trainings >= 12 / 4


def test_a_champion_is_paid_once_a_heat_and_a_hopeless_edit_not_to_the_end(ground: Ground) -> None:
    hopeless = worth(ground, -40)
    for width, trainings in ((1, 2.0), (4, 1.25)):
        made = campaign(ground, hopeless, width, trials=200)
        outcomes = list(made.outcomes())
        assert not any(outcome.kept for outcome in outcomes)
        a_trial = made.trainings / len(outcomes)
        assert 5 / 20 * trainings <= a_trial < 0.6 * trainings  # one in twenty runs to its end


def test_one_heat_keeps_one_edit_at_most_and_the_others_are_judged_anew(ground: Ground) -> None:
    """All are so good that each would be kept after two heats; the first is quarantined once."""
    good = worth(ground, 7)
    made = campaign(ground, good, 4, trials=4)
    at: list[tuple[float, Outcome]] = [(made.trainings, one) for one in made.outcomes()]
    kept = [trainings for trainings, one in at if one.kept]
    assert len(kept) == 4 and len(set(kept)) == 4  # no two of one heat
    assert kept[1] - kept[0] >= 2 * 3  # two more heats, of three and the champion
    at_once = Heats(ground, lambda _: good, 4, "a seed", width=4, anew=False)
    assert len(list(at_once.outcomes())) == 4 and at_once.trainings < made.trainings


def test_the_rule_before_heats_finds_what_is_plain(ground: Ground) -> None:
    scale = ground.sigma[0]
    good = replace(ground.null("numbers"), gain=8 * scale)
    landed = Landed(ground, lambda _: good, 10, "a seed")
    assert all(outcome.kept for outcome in landed.outcomes())
    landed = Landed(ground, lambda _: replace(good, gain=-8 * scale), 10, "a seed")
    assert not any(outcome.kept for outcome in landed.outcomes())
    assert landed.trainings == 10 + 3  # one each, and a champion is trained thrice


def test_four_a_heat_reach_more_verdicts_than_one() -> None:
    found = {rule: widths.measured(rule, 4, 20) for rule in widths.RULES}
    times = widths.compared(found)["times_one_a_heat"]
    assert times["1 a heat"]["nulls"]["verdicts_a_training"] == 1.0
    assert 1.2 < times["4 a heat"]["nulls"]["verdicts_a_training"] < 1.6  # the ceiling
    assert times["before heats"]["edits"]["verdicts_a_training"] > 1.0
    assert found["4 a heat"] == widths.measured("4 a heat", 4, 20)


# --- real heats ---


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> Iterator[list[int]]:
    """How many sources each heat had; scores are drawn, and no edit does anything."""
    nulls = [real.Entry(ground.null("numbers"), one) for one in plan.nulls(real.START)]
    monkeypatch.setattr(real, "TRIALS", len(nulls))
    monkeypatch.setattr(real, "entries", lambda _=0: nulls)
    counts: list[int] = []

    def heat(sources: list[str], *, seed: Any, **_: Any) -> list[Any]:
        counts.append(len(sources))
        return growth.heat(sources, seed=seed)

    monkeypatch.setattr(measure, "heat", heat)
    yield counts


def finished(width: int, *args: Any, trials: int = 6, number: int = 0) -> dict[str, Any]:
    campaign = real.RealHeats(width, *args, trials, number)
    real.in_turns([campaign])
    return real.told(campaign)


def test_real_heats_go_on_where_they_were_stopped(trained: list[int]) -> None:
    lines: list[dict[str, Any]] = []
    whole = finished(4, (), lines.append)
    assert trained[0] == 5 and len(trained) == len(lines)
    trained.clear()
    again = finished(4, lines[:2], lambda _: None)
    assert len(trained) == len(lines) - 2
    assert again["verdicts"] == whole["verdicts"] == 6
    assert (again["nulls"], again["better"]) == (6, 0)
    with pytest.raises(SystemExit, match="to begin again"):
        finished(4, [lines[0] | {"trials": [9]}], lambda _: None)


def test_a_machine_that_slows_down_meets_both_widths(trained: list[int]) -> None:
    one, four = (real.RealHeats(width, (), lambda _: seen(), 8) for width in real.WIDTHS)
    apart: list[int] = []

    def seen() -> None:
        apart.append(abs(len(one.outcomes_so_far) - len(four.outcomes_so_far)))

    real.in_turns([one, four])
    assert len(one.outcomes_so_far) == len(four.outcomes_so_far) == 8
    assert len(apart) == len(trained) and max(apart) <= 4  # so many may end with one heat


def test_no_two_rounds_have_a_seed_in_common(
    trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def heat(sources: list[str], *, seed: Any, **_: Any) -> list[Any]:
        seeds.append(seed[0])
        return growth.heat(sources, seed=seed)

    monkeypatch.setattr(measure, "heat", heat)
    for number, width in itertools.product(range(real.ROUNDS), real.WIDTHS):
        finished(width, (), lambda _: None, number=number)
    assert len(set(seeds)) == len(seeds)


def test_the_real_trials_can_be_simulated(trained: list[int]) -> None:
    found = real.simulated(3)
    assert not trained and found == real.simulated(3)
    one, four = (found[f"{width} a heat"]["trainings"] for width in real.WIDTHS)
    assert 1.2 < one / four < 1.7


def test_rounds_count_together_by_their_time() -> None:
    """The mean of their quotients would be 1.5."""
    rounds = [
        {
            name: {"verdicts": 10, "seconds": took}
            for name, took in (("1 a heat", one), ("4 a heat", four))
        }
        for one, four in ((1800.0, 900.0), (5400.0, 5400.0))
    ]
    told = real.together(rounds)
    assert told["1 a heat"] == {"verdicts": 20, "seconds": 7200.0, "verdicts_an_hour": 10.0}
    assert told["times_one_a_heat"] == pytest.approx(7200 / 6300, abs=0.01)


@pytest.mark.slow
@pytest.mark.process  # it checks the whole deck: seconds
def test_half_of_the_real_trials_do_nothing() -> None:
    chosen = real.entries()
    names = [entry.known.name for entry in chosen]
    assert len(chosen) == real.TRIALS and names.count("null") == real.TRIALS / 2
    assert len({n for n in names if n != "null"}) == real.TRIALS / 2


# --- a slow model ---


def test_the_slow_model_speaks_to_the_real_client_and_its_edits_apply() -> None:
    source = (ROOT / "trainer" / "train.py").read_text()
    asked = f"<train.py>\n{source}</train.py>\nPropose one edit in the category **schedule**: it"
    with hidden.model(0.0) as url:
        model, _ = open_model(f"openai:stub@{url}/v1", {})
        assert model is not None
        prompt = Prompt((Part("rules", "rules"), Part("focus", asked)))
        texts = [model.complete(prompt, max_tokens=500).text for _ in range(2)]
    edits = [parse(text) for text in texts]
    assert {edit.category for edit in edits} == {"schedule"}
    assert len({edit.apply(source) for edit in edits} | {source}) == 3


def test_the_device_is_busy_between_first_and_last_heat(tmp_path: Path) -> None:
    """A second passes between two events, the two trainings of a heat take half of it each, and a
    verdict comes when its trial has taken a minute."""
    story, took = Story(), {"train_seconds": 0.4, "score_seconds": 0.1}
    story.draw("baseline")
    story.candidate(0, "as it stands")
    story.train(0, 1.3, **took)
    story.end(0, "keep", "the starting point")
    for _ in range(2):
        number = story.draw("schedule")
        story.candidate(number, "an edit")
        story.heat(number, 1.3, 1.3, champion=took, **took)
        story.end(number, "revert", "so")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(write_line(read_event(event)) for event in story.events))
    found = between_heats(path)
    assert (found["heats"], found["seconds"], found["busy_share"]) == (2, 62.0, 0.0323)
    assert found["lost_seconds"] == {"bookkeeping": 58.0, "drafting": 1.0, "checks": 1.0}
    assert found["overhead_seconds_a_heat"] == 0.0
    path.write_bytes(b"")
    assert between_heats(path) == {"heats": 0}


# --- a long past ---


@pytest.mark.process
def test_a_long_past_is_one_that_the_campaign_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "TEMPLATES", 4)
    monkeypatch.setattr(growth, "MEASURED", 1)
    found = growth.measured(30, tmp_path)
    assert found["seconds_a_trial"] > 0 and found["events_a_trial"] >= 5
    with growth.running(tmp_path) as runtime:
        state, repo = runtime.campaign.state, runtime.campaign.repo
        assert len(state.trials) > 31 and all(t.verdict for t in state.trials)
        commits = [trial.commit for trial in state.trials]
        assert len(set(commits)) == len(commits) and not repo.missing(commits)
        assert repo.noted(growth.TAG) >= set(commits)
        assert not runtime.campaign.messages  # nothing had to be put back
    numbers = [trial.trial for trial in state.trials]
    assert numbers == list(itertools.islice(itertools.count(), len(numbers)))


# --- the command line ---


def test_readings_that_are_there_are_not_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def readings(part: str, full: bool, command: str) -> dict[str, Any]:
        def read(name: str) -> dict[str, Any]:
            if name == "second" and taken.count(name) == 0:
                taken.append(name)
                raise KeyboardInterrupt
            taken.append(name)
            return {"part": part, "name": name}

        return {name: partial(read, name) for name in ("first", "second")}

    monkeypatch.setattr(throughput, "FILE", tmp_path / "throughput.jsonl")
    monkeypatch.setattr(throughput, "readings_of", readings)
    with pytest.raises(KeyboardInterrupt):
        throughput.take(["growth"], full=True, command="x")
    found = throughput.take(["growth"], full=True, command="x")
    assert taken == ["first", "second", "second"]
    assert list(found["growth"]) == ["first", "second"]
    assert throughput.take(["growth"], full=True, command="x") == found and len(taken) == 3
    throughput.take(["growth"], full=False, command="x")
    assert len(taken) == 5  # a short look takes them all


def test_nodes_train_a_file_that_keeps_to_the_contract() -> None:
    for kind in nodes.KINDS:
        contract.read(nodes.start_of(kind), 1024)
        tried = re.findall(r"^\w+ = .*; (?:range|choice) .*$", nodes.start_of(kind), re.MULTILINE)
        assert len(tried) > 10 and not any("SIZE = " in one or "ROWS" in one for one in tried)
    assert "time.sleep" in nodes.start_of("wait")
    told = {f"{k}, {n}": {"verdicts_an_hour": 100.0 * n} for k in nodes.KINDS for n in (1, 2)}
    found = throughput.summary({"nodes": told})["nodes"]
    assert {found[f"{kind}, times one node"] for kind in nodes.KINDS} == {2.0}
