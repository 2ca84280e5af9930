"""Lanes where devices come and go, and what may train when; see ``test_lanes``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from lab import Lab, Run, Told, check_invariants, closed, drafted, edit, journal, trials, use

from agent import loop
from agent.campaign import events
from agent.campaign.files import PAUSE
from agent.campaign.reading import CampaignError
from agent.models.types import Prompt
from agent.steps import evaluate, proof
from agent.steps.next_action import MAX_FAULTS
from agent.steps.runtime import Runtime
from trainer.measure import CheckResult

pytestmark = pytest.mark.process


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def worse(source: str) -> float:
    return 1.9 if "kind" in source else 1.5


def better(source: str) -> float:
    return 1.5 - 0.1 * source.count("    kind = ")


def test_a_run_goes_on_when_a_node_comes_back(runtime: Runtime, lab: Lab) -> None:
    """All nodes go while nothing is measured."""
    use(runtime, ray="auto", keep="greedy")
    lab.scores = worse
    lab.gates["reply"] = threading.Semaphore(0)
    with Run(runtime) as run:
        lab.wait_for("heat"), lab.wait_for("reply")
        lab.slots = 0
        lab.gates["reply"].release(99)
        wait_until(lambda: len(runtime.devices._urgent) == 3)  # each with a draft to be checked
        assert "check" not in [what for what, _ in lab.asked]
        lab.slots = 1
    assert run.reason == "3 trials are done"


def test_lanes_end_when_devices_have_gone(runtime: Runtime, lab: Lab) -> None:
    """Of three devices one is left: no more is drafted than it can take, and one."""
    lab.slots = 3
    use(runtime, keep="greedy", trials=14)
    lab.scores = worse
    heats = closed(lab, 1)
    under_way = list[int]()
    runtime.after_trial = lambda: under_way.append(len(runtime.campaign.state.open_trials))
    with Run(runtime):
        for _ in range(4):
            lab.wait_for("heat")
        lab.slots = 1
        heats.release(99)
    assert max(under_way) > 2 and max(under_way[5:]) <= 2


def test_a_trial_that_can_train_does_not_wait_for_the_model(runtime: Runtime, lab: Lab) -> None:
    """A run is gone on with in which the first of the open trials needs another reply."""
    use(runtime, keep="greedy")
    lab.scores = worse

    def reply(prompt: Prompt) -> str:
        if prompt.trial > 1:
            return edit(f"at{prompt.trial}")
        wait_until(lambda: bool(runtime.lanes._waiting))  # whose turn to draft is next
        return "no edit at all"

    lab.replies = reply
    heats = closed(lab, 1)
    lab.gates["reply"] = threading.Semaphore(2)
    with Run(runtime):
        lab.wait_for("heat"), lab.wait_for("heat")
        for _ in range(3):
            lab.wait_for("reply")
        runtime.stop.set()
    runtime.stop.clear()
    heats.release(99)
    lab.replies = lambda prompt: edit(f"at{prompt.trial}")
    lab.gates["reply"] = threading.Semaphore(0)
    with Run(runtime) as run:
        lab.wait_for("reply"), lab.wait_for("heat")
        lab.gates["reply"].release(99)
    assert run.reason == "3 trials are done"


def test_what_was_carried_over_has_a_seed_of_its_own(runtime: Runtime, lab: Lab) -> None:
    """The seed that was cut off has selected the champion."""
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = better
    heats = closed(lab, 1)
    with Run(runtime):
        lab.wait_for("heat"), lab.wait_for("heat")
        runtime.stop.set()
    runtime.stop.clear()
    heats.release(99)
    use(runtime, sequential=True)
    loop.run_campaign(runtime)
    first, *others = [trial for trial in runtime.campaign.state.finished if trial.trial]
    selected = {training.seed for training in first.of("candidate")}
    assert not selected & {t.seed for trial in others for t in trial.trainings}
    check_invariants(runtime)


@pytest.mark.parametrize("why", ["time", "pause"])
def test_no_proof_begins_for_a_draft_that_has_to_wait(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    lab.scores = lambda source: 1.9 if "at1" in source else 1.5
    monkeypatch.setattr(proof, "read_trace", lambda *_: "0 0\n")
    monkeypatch.setattr(proof, "_two_steps_agree", lambda _: True)
    usual = evaluate.next_action
    monkeypatch.setattr(
        evaluate,
        "next_action",
        lambda t, *a: "prove" if t.trial > 1 and not (t.heats or t.proof) else usual(t, *a),
    )
    request = runtime.campaign.folder / PAUSE
    heats = closed(lab, 1)
    with Run(runtime) as run:
        drafted(lab, 3)
        if why == "time":
            monkeypatch.setattr(Runtime, "time_is_up", lambda self: True)
        else:
            request.touch()
        heats.release(99)
        if why == "pause":
            wait_until(lambda: bool(trials(runtime)[1].verdict) and not runtime.lanes.quick)
        proofs = [e for e in journal(runtime) if isinstance(e, events.HeatBegun) and e.proof]
        request.unlink(missing_ok=True)
    assert why == "time" or run.reason == "3 trials are done"
    later = [e for e in journal(runtime) if isinstance(e, events.HeatBegun) and e.proof]
    assert not proofs and bool(later) is (why == "pause")


def test_a_carry_over_suspects_the_machine(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = better
    measure = lab.run

    def run(work: Any, **how: Any) -> Any:
        if work.call == "check" and runtime.campaign.state.champion.trial:  # type: ignore[union-attr]
            runtime.in_vain["steps"] = MAX_FAULTS - 1  # as after others
            return CheckResult("crashed", "the disk is gone")
        return measure(work, **how)

    monkeypatch.setattr(lab, "run", run)
    with pytest.raises(CampaignError, match="the champion's as well: the disk is gone"):
        loop.run_campaign(runtime)
    assert len(runtime.campaign.state.open_trials) == 2


def test_a_heat_sees_how_much_memory_is_free(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for one candidate when the run begins, and later for three."""
    runtime.proposer = Told()
    use(runtime, keep="greedy", trials=12)
    lab.scores = worse
    monkeypatch.setattr(loop, "room_of", lambda of: 3 if len(of.campaign.state.ended) > 2 else 1)
    loop.run_campaign(runtime)
    widths = [len(of) - 1 for what, of in lab.asked if what == "heat"]
    assert widths[1] == 1 and max(widths) == 3
