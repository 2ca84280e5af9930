"""Run a heat: the champion and candidates of trials under way side by side, under one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from agent.campaign import events
from agent.campaign.files import is_paused
from agent.campaign.reading import CampaignError
from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.executors.heats import Seat
from agent.steps.nulls import null_source
from agent.steps.pause import wait_while_paused
from agent.steps.runtime import Runtime, Stopped
from agent.steps.watch import HeatWatch, watch_all
from trainer.measure import Measurement, Watch
from trainer.presets import parse_budget

PACE = 1.5
"""A heat during which the champion's steps a second changed by more than this factor says so."""


def train_baseline(runtime: Runtime) -> Training:
    """Train the baseline, alone. A training that a kill cut off is repeated with its seed."""
    campaign, trial = runtime.campaign, runtime.open_trial
    runtime.stop_if_asked()
    (seed,) = trial.open_seeds or (runtime.fresh_seed(),)
    started = Training(trial.trial, "candidate", trial.candidate, seed, status="killed")
    campaign.record(events.TrainingBegun(trial=trial.trial, seed=seed))
    runtime.display.training(trial, started, runtime.settings.budget)
    (measured,) = _measure(runtime, [started], [campaign.source(trial.candidate)])
    campaign.record_training(started, measured)
    training = runtime.open_trial.trainings[-1]
    runtime.display.trained(training)
    return training


def run_heat(runtime: Runtime) -> None:
    """One more heat of the open trial, journalled before and after it; others may share it.

    None if another champion came before it began.
    """
    runtime.stop_if_asked()
    trial = runtime.open_trial
    if runtime.is_one_of_several and not trial.heats:
        wait_while_paused(runtime)
    with runtime.devices.heat(
        trial.trial,
        runtime.rival(trial).commit,
        runtime.stop,
        seeds=_seeds_to_share(runtime, trial),
        stays=trial.is_null,
        first=bool(trial.heats),
    ) as seat:
        if seat.is_gone:
            return
        runtime.stop_if_asked()
        if company := still_wanted(runtime, seat.company):
            _lead(runtime, company)
    if isinstance(seat.outcome, BaseException):
        raise seat.outcome
    if seat.outcome is None:  # it began no trial any more
        return
    plan, measured, watch, abreast = seat.outcome
    champion, candidate = plan.ended(measured)
    if candidate.status == "oom" and abreast > 1:
        candidate = replace(candidate, counted=False)  # alone it has more memory
    difference = Heat(plan.number, champion, candidate).lower_by  # time and memory are no claims
    if difference is not None and _is_too_good(runtime, champion, difference):
        candidate = replace(candidate, counted=False, quarantined=True)
    told = watch.forecast if watch is not None and candidate.status == "abandoned" else None
    forecast = (told.mean, told.error) if told is not None else None
    runtime.campaign.record_heat([champion, candidate], forecast=forecast)
    show_heat(runtime)


def still_wanted(runtime: Runtime, company: list[Seat]) -> list[Seat]:
    """Those of a heat that is about to begin whose trial is under way, or may still begin: a draft
    that waits is no trial yet when the time is up or the run is paused."""
    trials, up = runtime.campaign.state.trials, runtime.time_is_up()
    if not runtime.is_one_of_several or not (up or is_paused(runtime.campaign.folder)):
        return company
    wanted = [one for one in company if trials[one.trial].heats]
    for one in company:
        if one not in wanted:
            one.outcome = Stopped("the time is up") if up else None
            one.is_gone = True
    return wanted


def _lead(runtime: Runtime, company: Sequence[Seat]) -> None:
    """Run the heat of all that have a seat in it; the champion's training is counted once."""
    plans: list[Plan] = []
    trials = [runtime.campaign.state.trials[one.trial] for one in company]
    is_shared = len(company) > 1
    seeds, new = _seeds(runtime, trials[0], is_shared)
    for trial in trials:
        handed = seeds, 0 if plans else new
        plans.append(plan_heat(runtime, trial, handed, trains_champion=is_shared))
    trials = [runtime.campaign.state.trials[one.trial] for one in company]
    watches = [
        None if trial.is_null else HeatWatch(runtime, trial, plan.reused)
        for trial, plan in zip(trials, plans, strict=True)
    ]
    first, *others = train_heat(runtime, plans, watch=watch_all(watches))
    for number, (one, plan) in enumerate(zip(company, plans, strict=True)):
        if number:
            champion, _ = plans[0].ended([first, others[0]])
            again = replace(champion, trial=one.trial, heat=plan.number, reused=True)
            plan = replace(plan, reused=again)
        result = [None if number else first, others[number]]
        one.outcome = plan, result, watches[number], len(plans)


@dataclass(frozen=True)
class Plan:
    """A trial's part of a heat before it is run."""

    number: int
    champion: Training
    candidate: Training
    sources: tuple[str, str]
    reused: Training | None = None
    """The champion's training with this seed, if it need not be done again."""

    def ended(self, measured: Sequence[Measurement | None]) -> tuple[Training, Training]:
        """Champion and candidate with their results."""
        first, second = measured
        champion = self.champion.with_result(first) if first is not None else self.reused
        assert champion is not None and second is not None
        return champion, self.candidate.with_result(second)


def plan_heat(
    runtime: Runtime,
    trial: Trial,
    handed: tuple[tuple[int, int], int],
    *,
    proof: bool = False,
    trains_champion: bool = False,
) -> Plan:
    """Journal that a trial's heat begins.

    Args:
        handed: seeds of champion and candidate, and how many of them are new.
        trains_champion: also if a training of it with this seed is known; a proof does.
    """
    campaign, (seeds, new) = runtime.campaign, handed
    number = 1 + max((t.heat for t in trial.trainings if t.heat is not None), default=-1)
    is_done_anyway = has_turns(runtime) or proof or trains_champion
    reused = None if is_done_anyway else _earlier(runtime, trial, seeds[0])
    commit = runtime.rival(trial).commit
    source = campaign.source(commit)
    edited = null_source(source, trial) if trial.is_null else campaign.source(trial.candidate)
    campaign.record(
        events.HeatBegun(trial=trial.trial, heat=number, seeds=seeds, new_seeds=new, proof=proof)
    )
    champion = Training(trial.trial, "champion", commit, seeds[0], status="killed", heat=number)
    candidate = replace(champion, role="candidate", commit=trial.candidate or commit, seed=seeds[1])
    if reused is not None:
        reused = replace(reused, trial=trial.trial, role="champion", heat=number, reused=True)
    return Plan(number, champion, candidate, (source, edited), reused)


def has_turns(runtime: Runtime) -> bool:
    """Whether trainings take turns where they fit: under a budget of seconds."""
    return parse_budget(runtime.settings.budget).seconds is not None


def _seeds(runtime: Runtime, trial: Trial, is_shared: bool) -> tuple[tuple[int, int], int]:
    """Seeds of champion and candidate, and how many of them are new.

    A heat that others share takes no known one: one of them may have met the champion with it.
    """
    cut_off = trial.open_seeds
    if len(cut_off) == 2:
        return (cut_off[0], cut_off[1]), 0
    fresh = runtime.fresh_seed()
    if trial.is_null and not trial.sets_numbers:
        return (fresh, fresh + 1), 2
    if is_shared or (chosen := _known_seed(runtime, trial)) is None:
        return (fresh, fresh), 1
    return (chosen, chosen), 0


def _seeds_to_share(runtime: Runtime, trial: Trial) -> tuple[int, ...] | None:
    """What a ``Seat`` says of them. A trial without memory enough beside others shares none."""
    is_alone = trial.is_null and not trial.sets_numbers
    if is_alone or any(training.status == "oom" for training in trial.trainings):
        return ()
    if trial.open_seeds:
        return trial.open_seeds
    return None if _known_seed(runtime, trial) is None else ()


def _known_seed(runtime: Runtime, trial: Trial) -> int | None:
    """A seed with which the champion was trained, and need not be again; None if there is none."""
    state = runtime.campaign.state
    if has_turns(runtime):
        return None
    # With their seeds those that an edit of memory comes from were ahead, and so would it be.
    tests = [trial, *(state.trials[number] for number in trial.data.get("of", ()))]
    used = {training.seed for test in tests for training in test.trainings}
    runs = state.runs_of(runtime.rival(trial))
    known = [run.seed for run in runs if run.status == "ok" and run.seed not in used]
    if not known or repeats_exactly(state) is False:
        return None
    return known[trial.trial % len(known)]


def repeats_exactly(state: State) -> bool | None:
    """Whether champions that were trained twice with one seed had the same weights; None if none
    was."""
    weights: dict[tuple[str, int], list[str]] = {}
    for commit, runs in state.champion_runs.items():
        for run in runs:
            if run.status == "ok":
                weights.setdefault((commit, run.seed), []).append(run.weights_sha256)
    repeated = [found for found in weights.values() if len(found) > 1]
    return all(len(set(found)) == 1 for found in repeated) if repeated else None


def _earlier(runtime: Runtime, trial: Trial, seed: int) -> Training | None:
    """The champion's training with a seed, where such a training repeats bit for bit; its seconds
    do not."""
    state = runtime.campaign.state
    if not repeats_exactly(state) or trial.objective.get("time"):
        return None
    runs = state.runs_of(runtime.rival(trial))
    return next((run for run in runs if run.seed == seed and run.status == "ok"), None)


def train_heat(
    runtime: Runtime,
    plans: Sequence[Plan],
    *,
    watch: Watch | None = None,
    traces: Sequence[str | None] | None = None,
) -> list[Measurement | None]:
    """Train what has to be trained, the champion first; None for a training of its that is used
    again."""
    campaign, plan = runtime.campaign, plans[0]
    trials = [campaign.state.trials[one.candidate.trial] for one in plans]
    known = plan.reused.losses if plan.reused is not None else ()
    others = [trial.trial for trial in trials[1:]]
    runtime.display.heat(trials[0], plan.number, runtime.settings.budget, known, others)
    keep = [
        None if trial.is_null else campaign.weights(trial.trial, one.candidate.seed)
        for trial, one in zip(trials, plans, strict=True)
    ]
    trainings = [plan.champion, *(one.candidate for one in plans)]
    if plan.reused is not None:
        (alone,) = _measure(
            runtime,
            trainings[1:],
            plan.sources[1:],
            watch=watch,
            weights_to=keep,
            champion_seconds=plan.reused.answer_seconds,
        )
        same_machine = dict(alone.fingerprint) == dict(plan.reused.fingerprint)
        if same_machine or alone.status not in ("ok", "abandoned"):
            return [None, alone]
        watch = None  # both once more, as one work: the champion alone might go to its old node
    return list(
        _measure(
            runtime,
            trainings,
            [plan.sources[0], *(one.sources[1] for one in plans)],
            watch=watch,
            weights_to=[None, *keep],
            trace=list(traces) if traces else None,
            # Only pace asks for another order, and a watch needs the champion's losses first.
            champion_first=plan.number % 2 == 0
            or not (has_turns(runtime) or trials[0].objective.get("time")),
            peak_memory_mb=peak_memory_mb(runtime, runtime.rival(trials[0])),
        )
    )


def _measure(
    runtime: Runtime,
    trainings: Sequence[Training],
    sources: Sequence[str],
    *,
    watch: Watch | None = None,
    weights_to: Sequence[Path | None] = (),
    **how: Any,
) -> list[Measurement]:
    """Train each source, with the seed of its training, on the device that this lane has; what they
    leave is on disk then, and not yet in the journal."""
    number = runtime.open_trial.trial

    def tell(event: dict[str, Any]) -> None:
        runtime.display.event(event, number)

    def store(found: list[Measurement]) -> None:
        if not runtime.stop.is_set():
            for training, measured in zip(trainings, found, strict=True):
                runtime.campaign.write_training(training, measured)

    seeds = [training.seed for training in trainings]
    work = runtime.work("heat", *sources, budget=runtime.settings.budget, seed=seeds, **how)
    work = replace(work, weights_to=tuple(weights_to))
    found: list[Measurement] = runtime.devices.run_here(
        work, on_event=tell, cancel=runtime.stop, watch=watch, then=store
    )
    runtime.stop_if_asked()
    for one in found:
        _refuse_other_device_or_text(runtime, one)
    return found


def peak_memory_mb(runtime: Runtime, champion: Trial) -> float | None:
    """The largest peak of a champion's trainings so far."""
    runs = [*runtime.campaign.state.runs_of(champion), *champion.of("candidate")]
    return max(map(attrgetter("peak_memory_mb"), runs), default=0.0) or None


def _refuse_other_device_or_text(runtime: Runtime, measured: Measurement) -> None:
    """Refuse a score on other text or on another device, because it cannot be compared."""
    first = next((t for trial in runtime.campaign.state.trials for t in trial.trainings), None)
    for name in ("text", "device", "device_name"):
        was = first.fingerprint.get(name) if first else None
        now = measured.fingerprint.get(name)
        if was and now and was != now:
            raise CampaignError(
                f"the campaign's {name} was {was} and is {now} now: bring it back, or start "
                "another --tag; nothing was recorded"
            )


def _is_too_good(runtime: Runtime, champion: Training, difference: float) -> bool:
    """Whether to quarantine it, once per trial; a second score is no accident, and was audited."""
    trial = runtime.open_trial
    if trial.is_null or any(t.quarantined for t in trial.of("candidate")):
        return False
    judge = runtime.make_judge(trial.kind)
    return champion.val_bpb is not None and judge.too_good(difference, champion.val_bpb)


def show_heat(runtime: Runtime) -> None:
    """Show the heat that was just recorded, and what is odd about it."""
    heat = runtime.open_trial.heats[-1]
    runtime.display.heat_over(runtime.open_trial, heat)
    if heat.candidate.quarantined:
        runtime.display.message(
            "too good to be true: quarantined; it is audited, and trained again with a fresh seed"
        )
    if has_turns(runtime) and heat.champion.pace > PACE:
        shared = "met both alike" if heat.champion.how == "side by side" else "may have met one"
        runtime.display.message(
            f"the champion's steps a second changed by {heat.champion.pace - 1:.0%} during this "
            f"heat: what the machine did {shared}"
        )
