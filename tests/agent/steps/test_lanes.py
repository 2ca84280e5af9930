"""Several trials side by side: drafted ahead, in one heat, carried over, stopped and gone on with.

Journal, git and threads are real; trainings and the model's replies come when the test lets them.
"""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lab import (
    ELSEWHERE,
    PLACE,
    Lab,
    Run,
    Told,
    check_invariants,
    closed,
    drafted,
    edit,
    journal,
    three_ideas,
    trials,
    use,
)
from runtimes import running

from agent import loop
from agent.campaign import events
from agent.executors.base import Work
from agent.models.types import Misconfigured, Prompt
from agent.proposers.base import Context, Proposal
from agent.steps import heat
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


def test_the_next_edits_are_drafted_while_a_heat_trains(runtime: Runtime, lab: Lab) -> None:
    heats = closed(lab, 1)  # the baseline's training
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        prompts = [lab.wait_for("reply") for _ in range(3)]
        assert [prompt.trial for prompt in prompts] == [1, 2, 3]
        told = "Under way beside this trial"
        assert [told in prompt.text for prompt in prompts] == [False, True, True]
        assert [t.verdict for t in trials(runtime)[1:3]] == [None, None]
        heats.release(9)
    assert run.reason == "3 trials are done"
    assert [trial.verdict for trial in trials(runtime)] == ["keep", "revert", "revert", "revert"]
    check_invariants(runtime)


def test_one_lane_drafts_when_its_trial_is_over(runtime: Runtime, lab: Lab) -> None:
    use(runtime, sequential=True, keep="greedy")
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    loop.run_campaign(runtime)
    kinds = [what for what, _ in lab.asked]
    assert kinds == ["heat", *("reply", "check", "heat") * 3]


@pytest.mark.parametrize("place", [ELSEWHERE, PLACE], ids=["merges", "conflicts"])
def test_a_draft_is_carried_over_to_a_new_champion(runtime: Runtime, lab: Lab, place: str) -> None:
    """The first trial is kept while the second is drafted."""
    use(runtime, trials=2, keep="greedy")
    lab.replies = lambda prompt: edit(f"at{prompt.trial}", PLACE if prompt.trial == 1 else place)
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    heats = closed(lab, 1)
    with Run(runtime):
        for _ in range(2):
            lab.wait_for("heat")
        lab.wait_for("reply"), lab.wait_for("reply")
        heats.release(9)
    first, second = runtime.campaign.state.finished[1:]
    made = [e for e in journal(runtime) if isinstance(e, events.CandidateMade)]
    assert {event.parent for event in made[1:]} == {trials(runtime)[0].commit}
    assert first.kept
    if place == PLACE:
        assert second.verdict == "rejected" and second.is_lost
        assert second.words.startswith("rejected, as it could not be carried over")
        assert f"trial {first.trial} has changed it, too" in second.words
        assert second.tried == () and not second.holds_by({})
    else:
        assert second.carried == (made[second.trial].candidate,)
        assert second.kept and second.parent == first.commit
        assert second.differences == (pytest.approx(0.1),)
        source = runtime.campaign.source(second.commit)
        assert "'at1'" in source and "'at2'" in source
    check_invariants(runtime)


def test_candidates_share_one_champion_and_one_keep_comes_of_it(runtime: Runtime, lab: Lab) -> None:
    """All three pay: the best is kept at once, the others are tried again on it."""
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = lambda source: (
        1.5 - 0.1 * source.count("    kind = ") - 0.01 * source.count("'at2'")
    )
    assert loop.run_campaign(runtime) == "3 trials are done"
    heats = [of for what, of in lab.asked if what == "heat"]
    assert len(heats[1]) == 4, "one champion and three candidates"
    begun = [e for e in journal(runtime) if isinstance(e, events.HeatBegun)]
    assert [e.seeds for e in begun[:3]] == [begun[0].seeds] * 3
    assert [e.new_seeds for e in begun[:3]] == [1, 0, 0]
    over = [e.trainings[0] for e in journal(runtime) if isinstance(e, events.HeatOver)]
    assert [one.reused for one in over[:3]] == [False, True, True]
    base = trials(runtime)[0].commit
    assert len(runtime.campaign.state.champion_runs[base]) == 2, "alone, and in the heat once"
    assert [trial.verdict for trial in trials(runtime)] == ["keep"] * 4
    assert runtime.campaign.state.ended[:2] == [0, 2]
    audited = [what for what, _ in lab.asked].count("audit")
    assert audited == 3, "none of what was to be carried over"
    carried = [len(trial.carried) for trial in runtime.campaign.state.finished]
    assert carried[:2] == [0, 0] and min(carried[2:]) > 0
    check_invariants(runtime)


def test_those_that_share_a_heat_train_the_champion_whatever_is_known_by_then(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its training with a seed became known after they had sat down."""
    use(runtime, heat="3", budget="200000tok", trials=6)
    runtime.proposer = Told()
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    monkeypatch.setattr(heat, "_seeds_to_share", lambda runtime, trial: trial.open_seeds or None)
    assert loop.run_campaign(runtime) == "6 trials are done"
    assert {len(of) for what, of in lab.asked[2:] if what == "heat"} == {4}
    assert [trial.verdict for trial in trials(runtime)] == ["keep"] + ["revert"] * 6
    check_invariants(runtime)


class Same(Told):
    """Draws one edit again and again."""

    def propose(self, context: Context) -> Proposal:
        head = f"category: {context.category}\nhypothesis: it may help\n"
        return Proposal("deck", head + edit("same"))


def test_of_two_that_draw_the_same_one_is_trained(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is read while the first one's steps are tried."""
    lab.slots = 2
    use(runtime, trials=2)
    runtime.proposer = Same()
    both, run = threading.Barrier(2, timeout=60), lab.run

    def run_both(work: Work, **how: Any) -> Any:
        if work.call == "check":
            both.wait()
        return run(work, **how)

    monkeypatch.setattr(lab, "run", run_both)
    assert loop.run_campaign(runtime) == "2 trials are done"
    assert sorted(trial.verdict for trial in trials(runtime)[1:]) == ["rejected", "revert"]
    check_invariants(runtime)


def test_of_works_that_are_weighed_the_next_waits_for_what_comes_of_the_best(
    runtime: Runtime, lab: Lab
) -> None:
    """An audit of the second best, if it were over first, would make that the champion."""
    lab.slots, devices = 2, runtime.devices
    audits, begun = threading.Semaphore(0), queue.Queue[float]()

    def run(work: Work, **how: Any) -> None:
        begun.put(work.arguments["worth"])
        assert audits.acquire(timeout=60)

    def audit(number: int, worth: float) -> None:
        with devices.lanes.lane(number):
            work = Work("audit", ("",), {"worth": worth})
            cancel = threading.Event()
            devices.run(work, on_event=print, cancel=cancel, worth=worth)

    devices.executor = SimpleNamespace(slots=2, run=run)
    lanes = [threading.Thread(target=audit, args=(n, w)) for n, w in enumerate((0.3, 0.1, 0.2))]
    for lane in lanes:
        lane.start()
    order = [begun.get(timeout=60)]
    while len(devices._urgent) < 2:
        time.sleep(0.01)
    with devices.lanes.beside():
        devices.look()
        assert len(devices._urgent) == 2
    audits.release(3)
    for lane in lanes:
        lane.join(60)
    order += [begun.get_nowait() for _ in range(2)]
    assert order[-2:] == sorted(order[-2:], reverse=True)


def test_two_devices_train_two_heats_at_once(runtime: Runtime, lab: Lab) -> None:
    lab.slots = 2
    runtime.proposer = Told()
    use(runtime, keep="greedy")
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    heats = closed(lab, 1)
    with Run(runtime) as run:
        sources = [lab.wait_for("heat") for _ in range(3)]  # the baseline's, and two
        assert [len(of) for of in sources] == [1, 2, 2]
        heats.release(20)
    assert run.reason == "3 trials are done"
    assert [trial.verdict for trial in trials(runtime)] == ["keep"] * 4
    check_invariants(runtime)


def test_ideas_of_one_reply_share_a_heat(runtime: Runtime, lab: Lab) -> None:
    use(runtime, heat="3", ideas=3, keep="greedy")
    lab.replies = three_ideas
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert [what for what, _ in lab.asked].count("reply") == 1
    heats = [len(of) for what, of in lab.asked if what == "heat"]
    assert heats == [1, 4]


def test_a_stop_ends_all_lanes_and_the_next_run_goes_on(runtime: Runtime, lab: Lab) -> None:
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        drafted(lab, 3)
        runtime.stop.set()
    assert run.reason == "asked to stop"
    state = runtime.campaign.state
    assert len(state.open_trials) == 3 and state.asking is False
    (begun,) = (trial for trial in state.open_trials if trial.open_seeds)
    runtime.stop.clear()
    heats.release(9)
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert trials(runtime)[begun.trial].trainings[0].seed == begun.open_seeds[0]
    assert len(trials(runtime)) == 4 and not runtime.campaign.state.open_trials
    check_invariants(runtime)


def test_a_failure_in_one_lane_ends_the_others(runtime: Runtime, lab: Lab) -> None:
    closed(lab, 1)

    def fail(prompt: Prompt) -> str:
        if prompt.trial == 2:
            raise Misconfigured("no such model")
        return edit("one")

    lab.replies = fail
    with pytest.raises(Misconfigured, match="no such model"):
        loop.run_campaign(runtime)
    last = journal(runtime)[-1]
    assert isinstance(last, events.RunEnded) and last.reason == "no such model"


class Killed(BaseException):
    """Stands in for kill -9: nothing is written after it."""


@pytest.mark.parametrize(
    ("kind", "number", "side"),
    [
        ("heat_started", 3, "after"),  # the heat of all three has begun, of two it is recorded
        ("heat", 2, "before"),
        ("verdict", 2, "after"),
        ("carried", 1, "before"),
        ("carried", 1, "after"),
        ("proposed", 3, "after"),
    ],
)
def test_a_kill_with_several_open_trials_loses_nothing(
    runtime: Runtime, lab: Lab, home: Path, kind: str, number: int, side: str
) -> None:
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    append, seen, dead = runtime.campaign.journal.append, [0], [False]

    def kill(event: Any) -> Any:
        seen[0] += event.event == kind
        is_it = event.event == kind and seen[0] == number
        if dead[0] or (is_it and side == "before"):
            dead[0] = True
            raise Killed
        written = append(event)
        if is_it:
            dead[0] = True
            raise Killed
        return written

    runtime.campaign.journal.append = kill  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.run_campaign(runtime)
    runtime.campaign.close()
    with running(home, home / "again.txt") as again:
        again.devices.executor = lab
        again.proposer = Told()
        use(again, sequential=False, heat="3", keep="greedy", nulls=0.0, notebook=False, trials=3)
        assert loop.run_campaign(again) == "3 trials are done"
        assert [trial.verdict for trial in trials(again)] == ["keep"] * 4
        check_invariants(again)
