"""Find out whether a shorter program computes the champion's numbers, to the last bit."""

from __future__ import annotations

from dataclasses import replace

from agent.campaign import events
from agent.campaign.reading import read_trace
from agent.campaign.records import Proof
from agent.judge import SAME_SPEED
from agent.steps.heat import plan_heat, show_heat, still_wanted, train_heat
from agent.steps.pause import wait_while_paused
from agent.steps.runtime import Runtime
from trainer.measure import Measurement
from trainer.presets import parse_budget


def prove_tie(runtime: Runtime) -> None:
    """Find out whether a shorter program computes the champion's numbers to the last bit.

    Two steps under one seed say so cheaply for most edits. If they leave the same weights, both are
    trained side by side by the clock that the champion had in its own trial. Under a time budget
    the edit must also be as fast, or its time, not its numbers, is what heats have to judge.
    """
    if runtime.is_one_of_several and not runtime.open_trial.heats:
        wait_while_paused(runtime)
    champion = runtime.champion
    own = next(t for t in reversed(champion.of("candidate")) if t.status == "ok")
    trace = read_trace(runtime.campaign.repo, runtime.campaign.tag, champion, own.seed)
    if trace is None or not _two_steps_agree(runtime):
        runtime.campaign.record(events.Proved(trial=runtime.open_trial.trial, proof="other"))
        return
    runtime.display.message("the same numbers after two steps: trained again by the same clock")
    trial = runtime.open_trial
    measured = None
    with runtime.devices.heat(trial.trial, champion.commit, runtime.stop, seeds=()) as seat:
        if seat.is_gone:
            return
        runtime.stop_if_asked()
        if still_wanted(runtime, seat.company):
            plan = plan_heat(runtime, trial, ((own.seed, own.seed), 0), proof=True)
            measured = train_heat(runtime, [plan], traces=[trace, trace])
    if isinstance(seat.outcome, BaseException):
        raise seat.outcome
    if measured is None:  # it may not begin now
        return
    first, second = (one for one in measured if one is not None)
    proof = _compared(first, second)
    if proof == "same" and runtime.open_trial.objective.get("time"):
        proof = "untimed"  # seconds have a price, however few: heats judge them
    trainings = [replace(one, counted=proof == "same") for one in plan.ended(measured)]
    runtime.campaign.record_heat(trainings, proof=proof)
    show_heat(runtime)


def _two_steps_agree(runtime: Runtime) -> bool:
    weights = set()
    for commit in (runtime.champion.commit, runtime.open_trial.candidate):
        source = runtime.campaign.source(commit)
        checked = runtime.measure(runtime.work("check", source, seed=runtime.settings.seed))
        runtime.stop_if_asked()
        weights.add(checked.weights_sha256)
    return len(weights) == 1 and "" not in weights


def _compared(champion: Measurement, candidate: Measurement) -> Proof:
    """What a proof found: ``same``, ``other`` numbers, or at another speed."""
    numbers = {(one.status, one.weights_sha256, one.val_bpb) for one in (champion, candidate)}
    if len(numbers) > 1 or champion.status != "ok":
        return "other"
    if parse_budget(champion.budget).seconds is None:
        return "same"
    ratio = candidate.train_seconds / max(champion.train_seconds, 1e-9)
    if candidate.how != "side by side":
        return "untimed"
    if abs(ratio - 1) > SAME_SPEED:
        return "faster" if ratio < 1 else "slower"
    return "same"
