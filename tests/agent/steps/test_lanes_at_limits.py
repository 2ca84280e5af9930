"""Lanes when there is no more time or memory, or the run is paused; see ``test_lanes``."""

from __future__ import annotations

import time

import pytest
from lab import (
    ELSEWHERE,
    Lab,
    Run,
    check_invariants,
    closed,
    drafted,
    journal,
    three_ideas,
    trials,
    use,
)

from agent import loop
from agent.campaign import events
from agent.campaign.files import PAUSE
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


def test_a_draft_begins_no_heat_once_the_time_is_up(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial that trains goes on to its verdict; those that wait are left to the next run."""
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        drafted(lab, 3)
        monkeypatch.setattr(Runtime, "time_is_up", lambda self: True)
        heats.release(9)
    assert run.reason == "the time is up"
    assert [trial.verdict for trial in trials(runtime)] == ["keep", "revert", None, None]


def test_what_lacks_memory_beside_others_is_judged_alone(runtime: Runtime, lab: Lab) -> None:
    use(runtime, heat="3", ideas=3, keep="greedy")
    lab.replies = three_ideas
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    lab.lacks_memory = lambda source, count: count > 2 and f"{ELSEWHERE}    kind" in source
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert [trial.status for trial in trials(runtime)] == ["ok"] * 4
    assert [t.status for t in trials(runtime)[2].of("candidate")] == ["oom", "ok"]
    assert [len(of) for what, of in lab.asked if what == "heat"] == [1, 4, 2]


def test_trials_under_way_end_when_the_time_is_up(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(runtime, heat="2", trials=9)
    heats = closed(lab, 1)
    undecided(lab)
    with Run(runtime) as run:
        company = drafted(lab, 5)
        monkeypatch.setattr(Runtime, "time_is_up", lambda self: True)
        heats.release(99)
    assert run.reason == "the time is up"
    begun = [trial for trial in trials(runtime) if trial.trainings]
    assert len(begun) == len(company) and all(trial.verdict for trial in begun)
    assert len(begun[1].differences) > 1, "it was not decided by its first heat"
    assert len(trials(runtime)) > len(begun)
    check_invariants(runtime)


def undecided(lab: Lab) -> None:
    """No candidate is told from the champion by one heat."""
    near = iter(range(1, 1000))
    lab.scores = lambda source: 1.5 + (next(near) % 3 - 1) * 1e-3


def heats_of(runtime: Runtime) -> list[int]:
    """The trials whose heats have begun, in order."""
    return [e.trial for e in journal(runtime) if isinstance(e, events.HeatBegun)]


def test_a_trial_under_way_goes_before_drafts(runtime: Runtime, lab: Lab) -> None:
    undecided(lab)
    assert loop.run_campaign(runtime) == "3 trials are done"
    order = heats_of(runtime)
    assert len(order) > 5 and order == sorted(order)


def test_no_draft_begins_a_heat_while_the_run_is_paused(runtime: Runtime, lab: Lab) -> None:
    heats = closed(lab, 1)
    undecided(lab)
    with Run(runtime) as run:
        drafted(lab, 3)
        heats.release(1)
        lab.wait_for("heat")  # the second one, for which the drafts have waited as well
        request = runtime.campaign.folder / PAUSE
        request.touch()
        heats.release(99)
        deadline = time.monotonic() + 60
        while not trials(runtime)[1].verdict or runtime.lanes.quick:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert set(heats_of(runtime)) == {1}
        request.unlink()
    assert run.reason == "3 trials are done"
    assert any(isinstance(event, events.Paused) for event in journal(runtime))
