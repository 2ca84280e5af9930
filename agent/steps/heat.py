"""Run a heat: champion and candidate of the open trial side by side, under one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.campaign.evidence import courses, level_of
from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.campaign.store import CampaignError, read_trace
from agent.forecast import (
    CHECKPOINTS,
    PARTS,
    RUNS_ON,
    Forecast,
    doubt_about,
    forecast,
    is_hopeless,
    so_far,
)
from agent.steps.nulls import null_source
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import Measurement
from trainer.presets import parse_budget

PACE = 1.5
"""A heat during which the machine changed its pace by more than this factor says so."""
SAME_SPEED = 0.03
"""Two programs are equally fast if the seconds of the same steps differ by no more than this."""


def train_baseline(runtime: Runtime) -> Training:
    """Train the baseline, alone. A training that a kill cut off is repeated with its seed."""
    campaign, trial = runtime.campaign, runtime.open_trial
    runtime.stop_if_asked()
    (seed,) = campaign.state.open_seeds or (runtime.fresh_seed(),)
    started = Training(trial.trial, "candidate", trial.candidate, seed, status="killed")
    campaign.record("training_started", trial=trial.trial, seed=seed)
    runtime.display.training(trial, started, runtime.settings.budget)
    (measured,) = _measure(runtime, [campaign.source(trial.candidate)], [seed])
    campaign.record_training(started, measured)
    training = runtime.open_trial.trainings[-1]
    runtime.display.trained(training)
    return training


def run_heat(runtime: Runtime) -> None:
    """One more heat of the open trial, journalled before and after it."""
    plan = _plan(runtime)
    watch = _Watch(runtime, plan)
    measured = _run(runtime, plan, watch=watch)
    champion, candidate = plan.ended(measured)
    difference = Heat(plan.number, champion, candidate).difference
    if difference is not None and _is_too_good(runtime, champion, difference):
        candidate = replace(candidate, counted=False, quarantined=True)
    runtime.campaign.record_heat([champion, candidate], measured)
    _tell(runtime, plan.number)


def prove_tie(runtime: Runtime) -> None:
    """Find out whether a shorter program computes the champion's numbers to the last bit.

    Two steps under one seed say so cheaply for most edits. If they leave the same weights, both are
    trained side by side by the clock that the champion had in its own trial. Under a time budget
    the edit must also be as fast, or its time, not its numbers, is what heats have to judge.
    """
    champion = runtime.champion
    own = next(t for t in reversed(champion.of("candidate")) if t.status == "ok")
    trace = read_trace(runtime.campaign.repo, runtime.campaign.tag, champion, own.seed)
    if trace is None or not _two_steps_agree(runtime):
        runtime.campaign.record("proof", trial=runtime.open_trial.trial, proof="other")
        return
    runtime.display.message("the same numbers after two steps: trained again by the same clock")
    plan = _plan(runtime, seed=own.seed)
    measured = _run(runtime, plan, traces=[trace, trace])
    first, second = (one for one in measured if one is not None)
    proof = _compared(first, second)
    trainings = [replace(one, counted=proof == "same") for one in plan.ended(measured)]
    runtime.campaign.record_heat(trainings, measured, proof=proof)
    _tell(runtime, plan.number)


def _two_steps_agree(runtime: Runtime) -> bool:
    weights = set()
    for commit in (runtime.champion.commit, runtime.open_trial.candidate):
        checked = measure.check(
            runtime.campaign.source(commit),
            seed=runtime.settings.seed,
            preset=runtime.settings.preset,
            data=runtime.settings.data,
            isolation=runtime.settings.isolation,
            cancel=runtime.stop,
        )
        runtime.stop_if_asked()
        weights.add(checked.weights_sha256)
    return len(weights) == 1 and "" not in weights


def _compared(champion: Measurement, candidate: Measurement) -> str:
    """What a proof found: ``same``, ``other`` numbers, or at another speed."""
    numbers = {(one.status, one.weights_sha256, one.val_bpb) for one in (champion, candidate)}
    if len(numbers) > 1 or champion.status != "ok":
        return "other"
    if parse_budget(champion.budget).seconds is None:
        return "same"
    ratio = candidate.train_seconds / max(champion.train_seconds, 1e-9)
    if candidate.how != "side by side" or abs(ratio - 1) > SAME_SPEED:
        return "faster" if ratio < 1 else "slower"
    return "same"


@dataclass(frozen=True)
class _Plan:
    """A heat before it is run."""

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


def _plan(runtime: Runtime, seed: int | None = None) -> _Plan:
    campaign, trial = runtime.campaign, runtime.open_trial
    runtime.stop_if_asked()
    number = 1 + max((t.heat for t in trial.trainings if t.heat is not None), default=-1)
    has_turns = parse_budget(runtime.settings.budget).seconds is not None
    seeds, new = _seeds(runtime, trial, has_turns) if seed is None else ((seed, seed), 0)
    reused = None if has_turns or seed is not None else _earlier(runtime, seeds[0])
    source = campaign.source(runtime.champion.commit)
    edited = null_source(source, trial) if trial.is_null else campaign.source(trial.candidate)
    campaign.record(
        "heat_started", trial=trial.trial, heat=number, seeds=seeds, new_seeds=new,
    )  # fmt: skip
    commit = runtime.champion.commit
    champion = Training(trial.trial, "champion", commit, seeds[0], status="killed", heat=number)
    candidate = replace(champion, role="candidate", commit=trial.candidate or commit, seed=seeds[1])
    if reused is not None:
        reused = replace(reused, trial=trial.trial, role="champion", heat=number, reused=True)
    return _Plan(number, champion, candidate, (source, edited), reused)


def _seeds(runtime: Runtime, trial: Trial, has_turns: bool) -> tuple[tuple[int, int], int]:
    """Seeds of champion and candidate, and how many of them are new."""
    cut_off = runtime.campaign.state.open_seeds
    if len(cut_off) == 2:
        return (cut_off[0], cut_off[1]), 0
    fresh = runtime.fresh_seed()
    if trial.is_null and not trial.sets_numbers:
        return (fresh, fresh + 1), 2
    used = {training.seed for training in trial.trainings}
    runs = runtime.campaign.state.runs_of(runtime.champion)
    known = [run.seed for run in runs if run.status == "ok" and run.seed not in used]
    if has_turns or not known or repeats_exactly(runtime.campaign.state) is False:
        return (fresh, fresh), 1
    chosen = known[trial.trial % len(known)]
    return (chosen, chosen), 0


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


def _earlier(runtime: Runtime, seed: int) -> Training | None:
    """The champion's training with a seed, where such a training repeats bit for bit."""
    state = runtime.campaign.state
    if not repeats_exactly(state):
        return None
    runs = state.runs_of(runtime.champion)
    return next((run for run in runs if run.seed == seed and run.status == "ok"), None)


def _run(
    runtime: Runtime,
    plan: _Plan,
    *,
    watch: measure.Watch | None = None,
    traces: Sequence[str | None] | None = None,
) -> list[Measurement | None]:
    """Train what has to be trained; None for a champion's training that is used again."""
    campaign, trial = runtime.campaign, runtime.open_trial
    runtime.display.heat(trial, plan.number, runtime.settings.budget)
    keep = None if trial.is_null else campaign.weights(trial.trial, plan.candidate.seed)
    seeds = [plan.champion.seed, plan.candidate.seed]
    if plan.reused is not None:
        (alone,) = _measure(
            runtime, plan.sources[1:], seeds[1:], watch=watch, weights_to=[keep]
        )  # fmt: skip
        same_machine = dict(alone.fingerprint) == dict(plan.reused.fingerprint)
        if same_machine or alone.status not in ("ok", "abandoned"):
            return [None, alone]
        return [*_measure(runtime, plan.sources[:1], seeds[:1]), alone]
    return list(
        _measure(
            runtime,
            plan.sources,
            seeds,
            watch=watch,
            weights_to=[None, keep],
            trace=traces,
            champion_first=plan.number % 2 == 0,
            peak_memory_mb=_peak_memory_mb(runtime),
        )
    )


def _measure(
    runtime: Runtime, sources: Sequence[str], seeds: Sequence[int], **how: Any
) -> list[Measurement]:
    found = measure.heat(
        sources,
        budget=runtime.settings.budget,
        seed=seeds,
        preset=runtime.settings.preset,
        data=runtime.settings.data,
        isolation=runtime.settings.isolation,
        on_event=runtime.display.event,
        cancel=runtime.stop,
        **how,
    )
    runtime.stop_if_asked()
    for one in found:
        _refuse_other_device_or_text(runtime, one)
    return found


def _peak_memory_mb(runtime: Runtime) -> float | None:
    """The largest peak of the champion's trainings so far."""
    champion = runtime.champion
    runs = [*runtime.campaign.state.runs_of(champion), *champion.of("candidate")]
    return max((run.peak_memory_mb for run in runs), default=0.0) or None


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


def _tell(runtime: Runtime, number: int) -> None:
    """Show the heat that was just recorded, and what is odd about it."""
    heat = runtime.open_trial.heats[-1]
    runtime.display.heat_over(runtime.open_trial, heat)
    if heat.candidate.quarantined:
        runtime.display.message(
            "too good to be true: quarantined; it is audited, and trained again with a fresh seed"
        )
    if heat.champion.pace > PACE:
        runtime.display.message(
            f"the machine changed its pace by {heat.champion.pace - 1:.0%} during this heat, "
            f"which {'met both alike' if heat.champion.how == 'side by side' else 'can matter'}"
        )


class _Watch:
    """Ends a candidate as soon as its heat is hopeless; one in ``RUNS_ON`` is let run on."""

    def __init__(self, runtime: Runtime, plan: _Plan) -> None:
        self._runtime, self._trial, self._reused = runtime, runtime.open_trial, plan.reused
        self._judge = runtime.make_judge(self._trial.kind)
        self._level = level_of(runtime.campaign.state, runtime.rule)
        name = f"{runtime.settings.seed} trial {self._trial.trial} runs on"
        self._runs_on = random.Random(name).random() < 1 / RUNS_ON
        self._checked = 0

    def __call__(
        self, number: int, own: Sequence[float | None], champion: Sequence[float | None]
    ) -> str | None:
        """Why the training ends here, None if it goes on."""
        due = max((point for point in CHECKPOINTS if point <= len(own)), default=0)
        if self._runs_on or due <= self._checked:
            return None
        self._checked = due
        rival = champion or (self._reused.losses if self._reused else ())
        told = told_by(self._runtime, self._trial, rival, own)
        if told is None or not is_hopeless(
            self._judge, self._trial.differences, told,
            size_delta=self._trial.size_delta, level=self._level,
        ):  # fmt: skip
            return None
        return f"hopeless after {due / PARTS:.0%} of a heat"


def told_by(
    runtime: Runtime, trial: Trial, champion: Sequence[float | None], own: Sequence[float | None]
) -> Forecast | None:
    """The forecast at the last checkpoint that both have passed; None if there can be none."""
    logged = max((n for n, loss in enumerate(own, start=1) if loss is not None), default=0)
    parts = max((point for point in CHECKPOINTS if point <= logged), default=0)
    difference = so_far(champion, own, parts)
    past = courses(runtime.campaign.state, runtime.preset)
    doubt = doubt_about(trial.category, trial.hides_loss, past)
    if difference is None or doubt is None:
        return None
    return forecast(difference, parts, runtime.make_judge(trial.kind).noise.scale, doubt)
