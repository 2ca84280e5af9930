"""Where a campaign's time goes, by journals in which every second is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from events import Story

from agent.campaign import device_time, events
from agent.campaign.device_time import DeviceTime
from agent.campaign.records import Audit, Training
from agent.campaign.state import State, fold

RUN = events.RunBegun(settings={})
DRAW = {n: events.TrialBegun(trial=n, category="optimizer") for n in range(4)}
ASKED = {n: events.Asking(trial=n) for n in range(4)}
ANSWER = {n: events.Proposed(trial=n, proposer="llm", reply="") for n in range(4)}
EDIT = {n: events.CandidateMade(trial=n, candidate="c") for n in range(4)}
BEGIN = {n: events.HeatBegun(trial=n, heat=0, seeds=(n, n), new_seeds=1) for n in range(4)}

AUDITED = events.Audited(
    audit=Audit(
        trial=1, commit="c", ok=True, status="ok", reason="", leak_bound_bpb=0.0, seconds=50.0
    )
)


def heat(
    trial: int, *took: tuple[float, float | None], reused: bool = False, start: float = 0.0
) -> events.HeatOver:
    """A heat that is over: of each training the seconds that it trained, and was scored for, and of
    all what they took to start."""
    trainings = [
        Training(
            trial,
            role,
            "c",
            1,
            "ok",
            heat=0,
            startup_seconds=start,
            train_seconds=trained,
            score_seconds=scored,
        )
        for role, (trained, scored) in zip(("champion", "candidate"), took, strict=True)
    ]
    if reused:
        trainings[0] = Training(**{**trainings[0].__dict__, "reused": True})
    return events.HeatOver(trial=trial, trainings=tuple(trainings))


def verdict(trial: int) -> events.Concluded:
    return events.Concluded(trial=trial, verdict="revert", words="so", status="ok")


def spent(*happened: tuple[float, events.Event]) -> DeviceTime:
    """What became of the time; events with the second at which they happened."""
    clock = device_time.NEW
    for at, event in happened:
        clock = device_time.after(clock, event.model_copy(update={"time": 1e9 + at}))
    return device_time.device_time(clock)


BOTH = ((20.0, 1.0), (20.0, 1.0))
CASES: dict[str, tuple[tuple[tuple[float, events.Event], ...], dict[str, Any]]] = {
    "one trial after the other": (
        (
            (0, RUN), (3, DRAW[1]), (3, ASKED[1]), (23, ANSWER[1]), (25, EDIT[1]), (26, BEGIN[1]),
            (69, heat(1, *BOTH)), (70, verdict(1)), (72, DRAW[2]),
        ),
        {"running": 72, "busy": 42, "hidden": 0,
         "lost": {"start-up": 3, "drafting": 20, "checks": 2, "bookkeeping": 4,
                  "around trainings": 1}},
    ),
    "a draft while another trains": (
        (
            (0, RUN), (0, DRAW[1]), (0, ANSWER[1]), (0, EDIT[1]), (0, BEGIN[1]), (0, DRAW[2]),
            (1, ASKED[2]), (21, ANSWER[2]), (22, EDIT[2]), (42, heat(1, *BOTH)), (42, BEGIN[2]),
            (42, verdict(1)), (84, heat(2, *BOTH)),
        ),
        {"running": 84, "busy": 84, "hidden": 21, "lost": {}},
    ),
    "two candidates beside one champion": (
        (
            (0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, DRAW[2]), (0, EDIT[2]), (0, BEGIN[1]),
            (0, BEGIN[2]), (64, heat(1, *BOTH)), (64, heat(2, *BOTH, reused=True)),
        ),
        {"running": 64, "busy": 63, "hidden": 0, "lost": {"around trainings": 1}},
    ),
    "trainings that are slow to start": (
        (
            (0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (50, heat(1, *BOTH, start=3.0)),
            (50, BEGIN[1]), (101, heat(1, *BOTH, start=6.0, reused=True)),
        ),
        {"running": 101, "busy": 63, "hidden": 0,
         "lost": {"starting trainings": 12, "around trainings": 26}},
    ),
    "an edit that does not apply is drafted again": (
        (
            (0, RUN), (0, DRAW[1]), (5, ANSWER[1]), (6, events.TurnedDown(trial=1, reason="so")),
            (16, ANSWER[1]), (17, EDIT[1]),
        ),
        {"running": 17, "busy": 0, "hidden": 0, "lost": {"drafting": 15, "checks": 2}},
    ),
    "a check that has the device while another drafts": (
        (
            (0, RUN), (0, DRAW[1]), (0, ASKED[1]), (0, DRAW[2]), (5, ANSWER[1]), (8, EDIT[1]),
            (10, ANSWER[2]),
        ),
        {"running": 10, "busy": 0, "hidden": 0, "lost": {"drafting": 7, "checks": 3}},
    ),
    "a model that is away, then a pause, then the end and a later run": (
        (
            (0, RUN), (0, DRAW[1]), (0, ASKED[1]), (4, events.Waiting(reason="busy")),
            (64, ASKED[1]), (65, ANSWER[1]), (65, verdict(1)), (166, events.Paused(seconds=100.0)),
            (166, events.RunEnded(reason="so")), (200, events.Verified(found={})), (300, RUN),
        ),
        {"running": 166, "busy": 0, "hidden": 0,
         "lost": {"drafting": 5, "waiting for a model": 60, "paused": 100, "bookkeeping": 1,
                  "stopped": 134}},
    ),
    "a pause that one lane met while another's heat went on": (
        ((0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (40, events.Paused(seconds=30.0)),
         (42, heat(1, *BOTH))),
        {"running": 42, "busy": 42, "hidden": 0, "lost": {}},
    ),
    "a kill in mid-heat: nobody knows when": (
        ((0, RUN), (0, DRAW[1]), (0, EDIT[1]), (2, BEGIN[1]), (50, RUN), (51, BEGIN[1]),
         (93, heat(1, *BOTH))),
        {"running": 45, "busy": 42, "hidden": 0,
         "lost": {"bookkeeping": 2, "stopped": 48, "start-up": 1}},
    ),
    "an earlier version's heat counts whole": (
        ((0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]),
         (50, heat(1, (20.0, None), (20.0, None)))),
        {"running": 50, "busy": 50, "hidden": 0, "lost": {}},
    ),
    "a clock that was set back takes nothing away": (
        ((0, RUN), (10, DRAW[1]), (4, EDIT[1]), (5, verdict(1))),
        {"running": 11, "busy": 0, "hidden": 0, "lost": {"start-up": 10, "bookkeeping": 1}},
    ),
    "an audit while another drafts and waits for the device": (
        (
            (0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (42, heat(1, *BOTH)),
            (43, DRAW[2]), (44, ASKED[2]), (64, ANSWER[2]), (93, AUDITED), (95, EDIT[2]),
        ),
        {"running": 95, "busy": 92, "hidden": 21, "lost": {"bookkeeping": 1, "checks": 2}},
    ),
    "audits and proofs are scoring": (
        ((0, RUN), (0, DRAW[1]), (0, EDIT[1]), (3, events.Proved(trial=1, proof="other"))),
        {"running": 3, "busy": 3, "hidden": 0, "lost": {}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_second_counts_for_one_thing(name: str) -> None:
    happened, numbers = CASES[name]
    found, expected = spent(*happened), dict(numbers)
    told = {"running": found.running, "busy": found.busy, "hidden": found.hidden}
    lost = expected.pop("lost")
    assert told | found.lost == pytest.approx({**expected, **lost})
    rest = sum(s for cause, s in found.lost.items() if cause != "stopped")
    assert found.running == pytest.approx(found.busy + rest)


@pytest.mark.parametrize("run", [{"slots": 2}, {"settings": {"workers": 2}}])
def test_of_several_workers_each_is_busy_only_with_its_own_heat(run: dict[str, Any]) -> None:
    """A journal that does not tell the slots tells the workers."""
    happened = (
        (0, events.RunBegun(**{"settings": {}, **run})), (0, DRAW[1]),
        (0, EDIT[1]), (0, DRAW[2]), (0, EDIT[2]), (0, BEGIN[1]),
        (0, BEGIN[2]), (42, heat(1, *BOTH)), (84, heat(2, *BOTH)),
    )  # fmt: skip
    found = spent(*happened)
    assert (found.running, found.busy, found.busy_share) == (84, 42, 0.5)
    assert (found.trained, found.hidden, found.lost) == (
        84, 0, {"no trial": 21, "around trainings": 21},
    )  # fmt: skip


TWO = events.RunBegun(settings={}, slots=2)
TOGETHER = {n: BEGIN[n].model_copy(update={"seeds": (9, n)}) for n in range(4)}
OF_TWO: dict[str, tuple[tuple[tuple[float, events.Event], ...], dict[str, Any]]] = {
    "one trains, the other waits for a model": (
        ((0, TWO), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (0, DRAW[2]), (1, ASKED[2]),
         (42, heat(1, *BOTH)), (43, ANSWER[2]), (45, EDIT[2])),
        {"busy": 21, "hidden": 21, "lost": {"drafting": 22, "checks": 2}},
    ),
    "one heat of two candidates takes one of them": (
        ((0, TWO), (0, DRAW[1]), (0, EDIT[1]), (0, DRAW[2]), (0, EDIT[2]), (0, TOGETHER[1]),
         (0, TOGETHER[2]), (63, heat(1, *BOTH)), (63, heat(2, *BOTH, reused=True))),
        {"busy": 31.5, "hidden": 0, "lost": {"no trial": 31.5}},
    ),
    "one is audited while the other trains and a model drafts": (
        ((0, TWO), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (0, DRAW[2]), (0, EDIT[2]),
         (0, BEGIN[2]), (42, heat(1, *BOTH)), (42, DRAW[3]), (52, ANSWER[3]), (53, EDIT[3]),
         (92, AUDITED), (92, heat(2, (49.0, 1.0), (41.0, 1.0)))),
        {"busy": 92, "hidden": 10, "lost": {}},
    ),
    "one is audited, and nothing else is done": (
        ((0, TWO), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (42, heat(1, *BOTH)), (92, AUDITED)),
        {"busy": 46, "hidden": 0, "lost": {"no trial": 46}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_TWO)
def test_of_two_devices_each_second_counts_for_what_it_does(name: str) -> None:
    happened, expected = OF_TWO[name]
    found = spent(*happened)
    assert {"busy": found.busy, "hidden": found.hidden, "lost": found.lost} == expected
    assert found.running == pytest.approx(found.busy + sum(found.lost.values()))


def test_nodes_that_join_count_from_the_next_verdict_on() -> None:
    joined = verdict(1).model_copy(update={"slots": 2})
    happened = (
        (0, events.RunBegun(settings={"workers": 1, "ray": "auto"}, slots=1)), (0, DRAW[1]),
        (0, EDIT[1]), (0, BEGIN[1]), (42, heat(1, *BOTH)), (42, joined), (42, DRAW[2]),
        (42, EDIT[2]), (42, BEGIN[2]), (84, heat(2, *BOTH)), (84, verdict(2)),
    )  # fmt: skip
    found = spent(*happened)
    assert (found.busy, found.busy_share, found.trained) == (63, 0.75, 84)
    assert spent(*happened, (84, RUN)).busy == 63


def test_the_share_leaves_pauses_out_and_nothing_is_known_before_the_first_run() -> None:
    pause = events.Paused(seconds=100.0)
    begun = ((0, RUN), (0, DRAW[1]), (0, EDIT[1]), (0, BEGIN[1]), (42, heat(1, *BOTH)))
    found = spent(*begun, (42, verdict(1)), (142, pause))
    assert found.busy_share == 1.0 and found.an_hour(1) == pytest.approx(3600 / 142)
    assert spent().busy_share is None and spent().an_hour(0) is None


def test_a_state_has_it_as_plain_json() -> None:
    story = Story()
    story.draw("baseline")
    story.candidate(0, "as it stands")
    story.train(0, 1.3, score_seconds=2.0)
    story.end(0, "keep", "the starting point")
    state = story.state
    assert json.loads(json.dumps(state.clock)) == state.clock
    found = device_time.device_time(state.clock)
    assert found.busy == 1.0  # as long as the heat was under way, however long it says it trained
    assert fold([], State()).clock == device_time.NEW
