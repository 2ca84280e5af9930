"""The search benchmark: its plan, its arms, its figures, and one tiny campaign that is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from events import Story
from project import wait_until

from agent.edits.constants import Choice, Range, constants
from agent.prior import Prior
from agent.steps.fresh import interval
from benchmarks.kills_campaign import TRAIN_PY
from benchmarks.machine import ROOT
from benchmarks.search import verified
from benchmarks.search.arms import ARMS, DISTANCE, LUCK, PRIOR, RANDOM, TPE, Job, next_job, plan
from benchmarks.search.course import Found, steps_of, steps_of_points
from benchmarks.search.draws import in_turn, replace_draw, uniform
from benchmarks.search.lines import append_line, read_lines
from benchmarks.search.picture import draw
from benchmarks.search.points import ask, space_of, with_values
from benchmarks.search.table import claims_too_much, markdown, summary, time_to

PLAIN = (ROOT / "examples" / "plain.py").read_text()


# --- the plan ---


@pytest.mark.parametrize(("which", "arms"), [("prior", 3), ("search", 7), ("all", 9)])
def test_the_plan_has_each_campaign_once_and_other_pairs_with_each_seed(
    which: str, arms: int
) -> None:
    jobs = plan(which)
    assert len(set(jobs)) == len(jobs) and jobs[0].arm == DISTANCE
    for seed in (1, 2):
        assert len({job.arm for job in jobs if job.seed == seed}) == arms
    order = [[*dict.fromkeys(j.arm for j in jobs if j.seed == seed)] for seed in (1, 2)]
    pairs = [{frozenset(names[n : n + 2]) for n in range(0, len(names), 2)} for names in order]
    assert pairs[0].isdisjoint(pairs[1])


def test_a_campaign_of_both_groups_is_run_once() -> None:
    own = [job for job in plan("all") if job.arm == PRIOR.name]
    assert [(job.seed, job.trials) for job in own] == [(1, 30), (1, 40), (2, 30), (2, 40)]
    assert {job.folder for job in plan("prior", PRIOR.name)} <= {job.folder for job in own}


SHORT, LONG, OTHER = Job("TPE", 1, 40), Job("TPE", 1, 160), Job("luck", 1, 40)


@pytest.mark.parametrize(
    ("done", "blocked", "following"),
    [
        ([], [], SHORT),
        ([], [SHORT], OTHER),
        ([OTHER], [SHORT], None),  # the longer one goes on from the one that runs, or has failed
        ([SHORT], [], LONG),
        ([SHORT], [OTHER], LONG),
        ([SHORT, LONG, OTHER], [], None),
    ],
)
def test_the_longer_campaign_waits_for_the_shorter_one(
    done: list[Job], blocked: list[Job], following: Job | None
) -> None:
    assert next_job([LONG, SHORT, OTHER], done.__contains__, blocked) == following


def test_a_line_that_was_cut_off_is_not_read_and_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines.jsonl"
    append_line(path, {"n": 1})
    append_line(path, {"n": 2})
    path.write_bytes(path.read_bytes()[:-4])
    assert read_lines(path) == [{"n": 1}]
    append_line(path, {"n": 3})
    assert read_lines(path) == [{"n": 1}, {"n": 3}]


# --- the arms ---


def test_draws_in_place_of_the_priors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prior, "draw", Prior.draw)  # put back at the end
    prior = Prior(["a", "b", "c", "d"], seed=3)
    for _ in range(30):
        prior.update("a", 1.0)
    replace_draw(uniform)
    drawn = [next(iter(prior.draw(1, ["a", "b", "c"], trial=n))) for n in range(1, 301)]
    assert drawn == [next(iter(prior.draw(1, ["a", "b", "c"], trial=n))) for n in range(1, 301)]
    assert all(70 < drawn.count(name) < 130 for name in "abc")
    replace_draw(in_turn)
    turns = [next(iter(prior.draw(1, trial=n))) for n in range(1, 9)]
    assert "".join(turns) == "abcdabcd"
    assert prior.draw(1, ["a", "d"], trial=2) == {"d": 1.0}


@pytest.mark.parametrize("arm", [LUCK.name, RANDOM.name, TPE.name])
def test_a_search_asked_again_goes_on_as_it_would_have(arm: str) -> None:
    space = space_of(PLAIN, "cpu", as_stated=False)

    def asked(scores: Sequence[float | None]) -> list[dict[str, Any]]:
        search = ask(arm, 1, space)
        return [next(search), *(search.send(score) for score in scores)]

    scores = [2.5, None, 2.4, 2.6, None, 2.3, 2.35, 2.2, 2.9, 2.5, 2.1, 2.4, 2.2, 2.0]
    found = asked(scores)
    assert found[0] == {} and asked(scores) == found
    assert asked(scores[:7]) == found[:8]
    if arm == TPE.name:  # it learns
        assert asked([-score for score in scores if score][:12])[12] != found[12]
    for point in found:
        written = {c.name: c.value for c in constants(with_values(PLAIN, point))}
        for name, value in point.items():
            assert written[name] == (
                value if isinstance(value, str) else pytest.approx(value, rel=1e-3)
            )
        assert point.keys() <= {constant.name for constant in space}


def test_sizes_are_searched_near_the_starts_and_never_over_the_presets_limit() -> None:
    near = {c.name: c.domain for c in space_of(PLAIN, "cpu", as_stated=False)}
    stated = {c.name: c.domain for c in space_of(PLAIN, "cpu", as_stated=True)}
    assert near.keys() == stated.keys()
    assert near["DEPTH"] == Range(1, 4, integer=True)
    assert stated["DEPTH"] == Range(1, 24, integer=True)
    assert near["BATCH_ROWS"] == Choice((2, 4, 8, 16, 32))
    assert near["SEQ_LEN"] == stated["SEQ_LEN"] == Choice((128, 256, 512, 1024))
    assert near["LEARNING_RATE"] == stated["LEARNING_RATE"] == Range(0.0001, 0.1, log=True)


# --- the course ---


def test_the_course_of_a_campaign_adds_up_all_sides_of_its_heats() -> None:
    story = Story()
    took = {"train_seconds": 3.0, "answer_seconds": 0.5}
    story.draw("baseline")
    story.candidate(0, "start")
    story.train(0, 2.0, **took)
    story.end(0, "keep", "the start", gain=None)
    for number, (verdict, gain) in enumerate([("keep", 0.1), ("revert", -0.2)], 1):
        story.draw("optimizer")
        story.candidate(number, "edit")
        story.heat(number, 2.0, 1.9, champion=took, **took)
        story.end(number, verdict, "words", gain=gain)
    steps = steps_of(story.state)
    assert [(step.seconds, step.kept, step.claimed) for step in steps] == [
        (3.5, True, 0.0),
        (10.5, True, 0.1),
        (17.5, False, 0.1),
    ]


def test_of_single_points_the_best_score_so_far_is_claimed() -> None:
    scores = [2.5, None, 2.6, 2.4, 2.2]
    steps = steps_of_points([{"score": s, "seconds": 2.0, "status": "ok"} for s in scores])
    assert [step.claimed for step in steps] == pytest.approx([0, 0, 0, 0.1, 0.3])
    assert [step.kept for step in steps] == [True, False, False, True, True]
    assert steps[-1].seconds == 10


@pytest.mark.parametrize(
    ("kept", "chosen"),
    [([0], [0]), ([0, 3], [0, 3]), ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), ([0, *range(5, 13)], None)],
)
def test_the_last_champion_is_verified_and_some_before_it(
    kept: list[int], chosen: list[int] | None
) -> None:
    found = Found([], {number: str(number) for number in kept}, "")
    assert [*found.to_verify()] == (chosen or [0, 6, 8, 10, 12])


# --- what is verified ---


def test_gains_are_within_a_seed_and_lost_seeds_are_counted() -> None:
    scores = [[2.0, 1.9], [2.2, 2.0], [2.1, None], [2.4, 2.1]]
    found = verified.gains_of(scores, 1)
    assert found["gains"] == pytest.approx([0.1, 0.2, 0.3]) and found["failed"] == 1
    expected = interval([0.1, 0.2, 0.3])
    assert (found["mean"], found["low"]) == pytest.approx((0.2, expected.low), abs=1e-4)
    nothing = verified.gains_of([[2.0, None], [2.0, None]], 1)
    assert (nothing["mean"], nothing["high"], nothing["failed"]) == (None, None, 2)


def test_a_verification_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    stop = SimpleNamespace(is_set=lambda: len(asked) == 3)

    def heat(sources: list[str], **how: Any) -> list[Any]:
        asked.append(how)
        told = {"status": "ok", "reason": "", "how": "side by side", "fingerprint": {"threads": 1}}
        return [SimpleNamespace(val_bpb=2.0 - len(text), **told) for text in sources]

    monkeypatch.setattr(verified.measure, "heat", heat)

    def verify() -> Any:
        files = {0: "", 7: "a"}
        return verified.verify(files, "x 1", "3s", tmp_path / "v.jsonl", stop, print)  # type: ignore[arg-type]

    assert verify() is None
    (found,) = verify()
    assert len(read_lines(tmp_path / "v.jsonl")) == 5 and len(asked) == 6
    assert (found["trial"], found["mean"], found["low"], found["high"]) == (7, 1.0, 1.0, 1.0)
    assert len({how["seed"] for how in asked}) == 5  # that of the heat that was dropped, again
    assert {how["split"] for how in asked} == {"test"}


# --- figures ---


def row(arm: str, seed: int, course: list[tuple[float, float]], *gains: float, **of: Any) -> Any:
    """Of a campaign with so many seconds and claims; the gains are of what it ended with."""
    told = verified.gains_of([[0.0, -gain] for gain in gains], 1)
    return {
        "arm": arm,
        "seed": seed,
        "trials": 40,
        "threads": 1,
        "course": [
            {"trial": n, "seconds": s, "claimed": c, "kept": True, "status": "ok", "category": ""}
            for n, (s, c) in enumerate(course)
        ],
        "verified": [{"trial": len(course) - 1, **told}] if gains else [],
        **of,
    }


ROWS = [
    row(DISTANCE, 0, [], 0.4, 0.4, trials=0),
    row("TPE", 1, [(3, 0.0), (100, 0.3)], 0.1, 0.1),
    row("TPE", 2, [(3, 0.0), (300, 0.2)], 0.1, 0.3),
    row("tuner", 1, [(3, 0.0), (60, 0.1), (400, 0.2)], 0.25, 0.15),
    row("tuner", 2, [(3, 0.0), (50, 0.0)]),
    row(PRIOR.name, 1, [(3, 0.0), (100, 0.2)], 0.2, 0.2, trials=30),
    row("deck and tuner, uniform", 1, [(3, 0.0), (100, 0.1)], 0.1, 0.1, trials=30),
    row(PRIOR.name, 2, [(3, 0.0), (100, 0.2)], 0.3, 0.3, trials=30),
    row("deck and tuner, uniform", 2, [(3, 0.0), (100, 0.1)], 0.0, 0.0, trials=30),
    row(PRIOR.name, 1, [(3, 0.0), (100, 0.2), (110, 0.3)], 0.3, 0.3),
]
ROWS[0]["verified"][0]["trial"] = 1


def test_the_summary_of_made_up_campaigns() -> None:
    found = summary(ROWS)
    arms = {(arm["arm"], arm["trials"]): arm for arm in found["arms"]}
    assert found["distance"] == {"mean": 0.4, "low": 0.4, "high": 0.4}
    tpe = arms["TPE", 40]
    assert [one["share_closed"]["mean"] for one in tpe["campaigns"]] == [0.25, 0.5]
    assert tpe["verified"]["mean"] == 0.15
    assert tpe["verified"]["low"] == pytest.approx(interval([0.1, 0.2]).low, abs=1e-4)
    nothing = arms["tuner", 40]["campaigns"][1]
    assert (nothing["verified"]["mean"], nothing["share_closed"]["mean"]) == (0.0, 0.0)
    (times,) = found["time_to_tpe"]
    assert times["share_of_its_time"] == {
        "tuner, seed 1": 2.0,
        "tuner, seed 2": None,
        f"{PRIOR.name}, seed 1": 0.55,
        f"{PRIOR.name}, seed 2": 0.5,
    }
    against = found["prior_against"]
    assert against["deck and tuner, uniform"]["each"] == [0.1, 0.3]
    assert against["deck and tuner, in turn"] is None
    # Too high are TPE's first and the second uniform one; of the prior's first the longer counts.
    assert found["claimed_above_the_interval"] == {"judged in heats": [1, 6], "all": [2, 8]}


@pytest.mark.parametrize(
    ("claimed", "gains", "too_much"),
    [(0.1, (0.0, 0.1), False), (0.9, (0.0, 0.1), True), (0.0, (), False), (0.1, (), True)],
)
def test_a_claim_above_the_interval_is_counted(
    claimed: float, gains: tuple[float, ...], too_much: bool
) -> None:
    assert claims_too_much(row("TPE", 1, [(3, 0.0), (9, claimed)], *gains)) is too_much


def test_the_time_to_a_gain_is_that_of_a_verified_champion() -> None:
    campaign = row("tuner", 1, [(3, 0.0), (60, 0.5), (400, 0.6)], 0.2, 0.2)
    assert [time_to(campaign, gain) for gain in (0.0, 0.1, 0.2, 0.3)] == [3, 400, 400, None]


def test_the_table_and_the_picture_tell_of_each_campaign(tmp_path: Path) -> None:
    lines = markdown(summary(ROWS), "search").splitlines()
    assert (
        "| TPE | 1 | 40 | 1.7 | 1 | 0.3000 (too high) | 0.1000 (0.1000 to 0.1000) | 25% |" in lines
    )
    assert not any("uniform" in line for line in lines)
    assert len({line.count("|") for line in lines if "|" in line}) == 1
    draw(ROWS, tmp_path / "a.svg")
    draw(ROWS, tmp_path / "b.svg")
    picture = (tmp_path / "a.svg").read_text()
    assert all(name in picture for name in ("TPE", "tuner", PRIOR.name)) and "luck" not in picture
    assert (tmp_path / "b.svg").read_text() == picture and len(picture) < 100_000


# --- one real campaign ---


@pytest.mark.process
@pytest.mark.sandbox
@pytest.mark.slow
def test_a_campaign_that_was_stopped_goes_on_and_is_recorded(tmp_path: Path) -> None:
    start, file, work = tmp_path / "start.py", tmp_path / "rows.jsonl", tmp_path / "work"
    start.write_text(TRAIN_PY)
    arm = "deck and tuner, in turn"
    command = [sys.executable, "-m", "benchmarks.search", "--full", "--only", arm, "--seeds", "1"]
    command += ["--trials", "1", "--budget", "3000tok"]
    for option, path in (("--file", file), ("--work", work), ("--start", start)):
        command += [option, str(path)]
    path = work / Job(arm, 1, 1, "3000tok").folder / "repo/campaigns/search/journal.jsonl"

    def events() -> list[dict[str, Any]]:
        return read_lines(path)

    def sitting() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with sitting() as process:
        wait_until(lambda: any(e["event"] == "heat_started" for e in events()), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 0 and json.loads(out)["left"] == 1, err
    assert "to be gone on with" in err and not file.exists()
    with sitting() as process:
        out, err = process.communicate()
    assert process.returncode == 0 and json.loads(out)["left"] == 0, err
    (found,) = read_lines(file)
    names = [event["event"] for event in events()]
    assert (names.count("campaign"), names.count("run")) == (1, 2)
    assert [step["trial"] for step in found["course"]] == [0, 1]
    assert found["course"][1]["seconds"] > found["course"][0]["seconds"] > 0
    assert found["arm"] in ARMS and found["trials"] == 1
    if hasattr(os, "sched_getaffinity"):
        assert found["threads"] == 1
