"""A view of a campaign, made of its state: a pure function, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from agent.campaign.chain import chain
from agent.campaign.compared import finding
from agent.campaign.device_time import device_time
from agent.campaign.learning import prior_course
from agent.campaign.live import Live
from agent.campaign.records import Kind, Trial
from agent.campaign.state import State
from agent.judge import Estimate, most_false_keeps
from agent.objective import Objective
from agent.report.summary import (
    Standing,
    cost_name,
    cost_per_gain,
    doing,
    preset_of,
    standing,
    summed_words,
)
from agent.report.text import clock, meter, nothing_left, plural
from agent.report.verification import one_line_of, opening_words, transfer_words
from agent.report.view.models import (
    Advice,
    Belief,
    Cost,
    Found,
    Gain,
    Keep,
    NearMiss,
    Now,
    Pace,
    Row,
    Run,
    Share,
    Verified,
    View,
)
from trainer.untrusted import one_line

NEAR_MISSES = 3
RECENT = 10
"""The pace is that of so many trained trials, the last ones."""
COURSE = 60
"""Of the prior over time: at most so many points."""


def view(
    state: State,
    tag: str,
    prior: Mapping[str, float],
    *,
    pid: int | None = None,
    paused: bool = False,
    live: Live | None = None,
    now: float = 0.0,
) -> View:
    """Project a campaign's state.

    Args:
        prior: the probabilities of the categories for the next trial; empty before the first.
        pid: process id of the run under way, from ``reading.run_of``; None if nothing runs.
        paused: whether it is asked to begin no trial for now.
        live: what that run says it does, from ``live.read_live``.
        now: Unix seconds.
    """
    standing_now, course = standing(state), prior_course(state, COURSE)
    run, found = _run(state, tag, pid, paused), _found(state, tag, standing_now)
    return View(
        run=run,
        found=found,
        belief=_belief(state, standing_now),
        now=_now(state, run, live, paused),
        next=tuple(_next(state, run, found)),
        prior=tuple(_shares(state, prior, course)),
        course=tuple(row["trial"] for row in course),
        cost=_cost(state),
        pace=_pace(state, run, now),
        rows=tuple(_rows(state)),
        notes=tuple(filter(None, (state.left_out,))),
    )


def at_moment(
    before: View, state: State, pid: int | None, paused: bool, live: Live | None, now: float
) -> View:
    """The same view at a later moment, if nothing was recorded since: see ``view``."""
    run = _run(state, before.run.tag, pid, paused)
    return replace(
        before,
        run=run,
        now=_now(state, run, live, paused),
        next=tuple(_next(state, run, before.found)),
        pace=_pace(state, run, now),
    )


def row_of(trial: Trial, cost: Estimate | None = None) -> Row:
    """One trial as it is listed; ``cost`` is its value on the chain of champions."""
    return Row(
        trial=trial.trial,
        category=one_line(trial.category, 40),
        credited=one_line(trial.credited, 40),
        title=one_line(trial.title),
        hypothesis=one_line(trial.hypothesis, 4000),
        outcome=trial.outcome,
        finding="" if trial.is_null else finding(trial),
        words=one_line(trial.words),
        gain=trial.gain,
        gain_half=trial.gain_half,
        score=trial.val_bpb,
        score_half=trial.val_bpb_half,
        status=one_line(trial.status),
        cost=cost,
        kind=trial.kind,
        proposer=one_line(trial.proposer),
        seconds=trial.seconds,
        commit=trial.commit,
        parent=trial.parent,
    )


def _rows(state: State) -> list[Row]:
    costs = chain(state, preset_of(state))
    return [row_of(trial, costs.get(trial.trial)) for trial in state.finished]


def _run(state: State, tag: str, pid: int | None, paused: bool) -> Run:
    settings, counts, champion = state.settings, state.counts, state.champion
    texts = ("preset", "budget", "keep", "llm", "proposer", "data")
    told = {name: one_line(str(settings.get(name) or "")) for name in texts}
    is_by_score = not state.objective
    return Run(
        tag=tag,
        state=doing(state, pid, paused),
        waiting=one_line(state.waiting) if pid is not None else "",
        until=state.until if pid is not None and state.waiting else None,
        stopped=one_line(state.stop_reason) if pid is None else "",
        objective="" if is_by_score else Objective.of(state.objective).words(),
        champion=champion.commit if champion is not None else "",
        trials=sum(counts.values()),
        kept=counts["keep"],
        reverted=counts["revert"],
        rejected=counts["rejected"],
        **told,
    )


def _found(state: State, tag: str, now: Standing) -> Found:
    verified, kept = _verified(state), [t for t in state.real if t.kept and t.trial > 0]
    each = {one["trial"]: _gain_of(one["gain"]) for one in state.verified.get("each") or ()}
    is_each = verified is not None and verified.is_of_champion and bool(each)
    by_kind: dict[Kind, float] = {}
    for trial in kept:
        again = each.get(trial.trial) if is_each else None
        gain = again.mean if again else trial.gain or 0.0
        kind = _kind(trial)
        by_kind[kind] = by_kind.get(kind, 0.0) + gain
    return Found(
        cost_name=cost_name(state),
        summed=summed_words(state.objectives),
        baseline=now.baseline,
        best=now.best,
        claimed=_around(now.gain.mean, now.gain.half) if now.gain else None,
        verified=verified,
        verified_words=_verified_words(state, tag, verified),
        keeps=tuple(_keep(trial, each.get(trial.trial)) for trial in kept),
        near_misses=tuple(_near_misses(state)),
        by_kind=by_kind,
        by_kind_is_verified=is_each,
    )


def _kind(trial: Trial) -> Kind:
    """Whether the edit set constants only: also a choice or a size, which ``trial.kind`` counts as
    structure, since they share little of the champion's noise."""
    sets_constants = trial.hunks and all(hunk.startswith("number:") for hunk in trial.hunks)
    return "numbers" if trial.proposer == "tuner" or sets_constants else trial.kind


def _verified(state: State) -> Verified | None:
    found, champion = state.verified, state.champion
    gain = _gain_of(found.get("gain"))
    if gain is None:
        return None
    tip = champion.commit if champion is not None else ""
    return Verified(
        gain=gain,
        seeds=found["seeds"],
        trial=found["trial"],
        is_of_champion=(found.get("commits") or {}).get("champion", tip) == tip,
        words=one_line(one_line_of(found, tip), 1000),
    )


def _verified_words(state: State, tag: str, verified: Verified | None) -> str:
    if verified is not None:
        return verified.words
    if state.champion is None:
        return "nothing is measured yet"
    if state.champion.trial == 0:
        return "nothing is kept yet beyond the baseline"
    return f"not verified yet: {_command('verify', tag)}"


def _keep(trial: Trial, verified: Gain | None) -> Keep:
    gain = None if trial.gain is None else _around(trial.gain, trial.gain_half)
    what = f"trial {trial.trial} ({one_line(trial.credited, 40)}) {one_line(trial.title)}"
    is_better = gain is not None and gain.mean > 0  # else it was kept for being shorter
    worth = f"better by {gain.words}" if gain and is_better else one_line(trial.words)
    again = f"; verified {verified.words}" if verified else ""
    return Keep(
        trial=trial.trial,
        category=one_line(trial.credited, 40),
        title=one_line(trial.title),
        hypothesis=one_line(trial.hypothesis, 4000),
        kind=_kind(trial),
        gain=gain,
        verified=verified,
        transfer=one_line(transfer_words(trial), 1000),
        commit=trial.commit,
        sentence=f"{what}: {worth}{again}",
    )


def _near_misses(state: State) -> list[NearMiss]:
    """Reverted with a measured gain above 0, the ones with the most standard errors first."""
    found: list[tuple[float, NearMiss]] = []
    for trial in state.real:
        if finding(trial) != "inconclusive" or trial.status != "ok" or (trial.gain or 0.0) <= 0:
            continue
        mean, error = trial.difference or (trial.gain or 0.0, (trial.gain_half or 0.0) / 2)
        gain = _around(trial.gain or 0.0, trial.gain_half)
        what = f"trial {trial.trial} ({one_line(trial.credited, 40)}) {one_line(trial.title)}"
        miss = NearMiss(
            trial=trial.trial,
            category=one_line(trial.credited, 40),
            title=one_line(trial.title),
            hypothesis=one_line(trial.hypothesis, 4000),
            gain=gain,
            sentence=f"{what}: {gain.words}, which can be luck",
        )
        found.append((mean / max(error, 1e-9), miss))
    found.sort(key=lambda one: -one[0])
    return [miss for _, miss in found[:NEAR_MISSES]]


def _belief(state: State, now: Standing) -> Belief:
    nulls, kept = len(state.nulls), sum(trial.kept for trial in state.nulls)
    levels = {run.isolation for trial in state.trials for run in trial.trainings}
    return Belief(
        nulls=nulls,
        nulls_kept=kept,
        most_false=most_false_keeps(nulls, kept) if nulls else None,
        meter=meter(nulls, kept),
        noise=now.noise,
        isolation=", ".join(sorted(filter(None, levels))),
        openings=opening_words(state.openings),
    )


def _shares(
    state: State, prior: Mapping[str, float], course: Sequence[Mapping[str, Any]]
) -> list[Share]:
    ranked = sorted(prior.items(), key=lambda item: (-item[1], item[0]))
    return [
        Share(
            category=one_line(name, 40),
            now=share,
            course=tuple(row["prior"].get(name, 0.0) for row in course),
            exhausted=one_line(state.exhausted.get(name, ""), 400),
        )
        for name, share in ranked
    ]


def _cost(state: State) -> Cost:
    if state.cost is None:
        words = "not reported"
    elif not state.tokens and not state.cost and not (state.unanswered or state.capped):
        words = "no model was paid"
    else:
        words = f"${state.cost:.2f}"
    if state.unanswered:
        words += f", at least: {plural(state.unanswered, 'ask')} cut off, and not counted whole"
    if state.capped:
        told = f"{plural(state.capped, 'ask')} cut off, counted as ${state.capped_usd:.2f}"
        words += f", at most: {told}"
    words += f", {state.tokens:,} tokens" if state.tokens else ""
    return Cost(
        usd=state.cost,
        tokens=state.tokens,
        words=words,
        per_gain=cost_per_gain(state) if state.tokens else None,
        trained_seconds=device_time(state.clock).trained,
    )


def _abreast(trials: Sequence[Trial]) -> float:
    """How many trials were under way at a time, in the mean."""
    span = max(t.started + t.seconds for t in trials) - min(t.started for t in trials)
    return max(1.0, sum(trial.seconds for trial in trials) / span) if span > 0 else 1.0


def _pace(state: State, run: Run, now: float) -> Pace:
    taken = [trial for trial in state.finished[1:] if trial.trainings][-RECENT:]
    each = median(trial.seconds for trial in taken) / _abreast(taken) if taken else None
    words = f"{clock(each)} a trial" if each is not None else ""
    if run.state == "stopped":
        return Pace(each, None, words)
    trials, hours = state.settings.get("trials"), state.settings.get("hours")
    left = []
    if trials is not None and each is not None:
        left.append(max(0, trials - run.trials) * each)
    if hours is not None and state.run_began:
        left.append(max(0.0, state.run_began + 3600 * hours - now))
    soonest = min(left, default=None)
    ends = "no end is set" if trials is hours is None else ""
    ends = f"about {clock(soonest)} left" if soonest is not None else ends
    return Pace(each, soonest, ", ".join(filter(None, (words, ends))))


def _now(state: State, run: Run, live: Live | None, paused: bool) -> Now:
    if run.state == "stopped":
        return Now(f"not running{f': {run.stopped}' if run.stopped else ''}", None)
    if run.state == "paused":
        return Now("paused: no trial begins until it is told to go on", None)
    if live is not None:
        return Now(f"{live.words}{'; pauses after this trial' if paused else ''}", live)
    if run.waiting:
        return Now(f"waiting: {run.waiting}", None)
    trial = state.open_trial
    return Now(f"trial {trial.trial}" if trial is not None else "between two trials", None)


def _next(state: State, run: Run, found: Found) -> list[Advice]:
    """What a person can do now."""
    advice, verified = [], found.verified
    go_on = Advice("let it go on", _command("run", run.tag))
    if state.champion is None:
        return [] if run.state != "stopped" else [Advice("measure the baseline", go_on.command)]
    if run.waiting:
        advice.append(Advice(f"the model does not answer: {run.waiting}", ""))
    is_checked = verified is not None and verified.is_of_champion
    if found.keeps and not is_checked:
        words = "see whether the gain is real, on sealed text and fresh seeds"
        advice.append(Advice(words, _command("verify", run.tag)))
    elif is_checked and verified is not None and verified.gain.is_sure:
        advice.append(Advice("take it over into your branch", _command("adopt", run.tag)))
        if len(found.keeps) > 1:
            words = "find which of the keeps carry their own weight"
            advice.append(Advice(words, _command("harvest", run.tag)))
    elif is_checked:
        words = "what was verified can be luck: let it go on, or verify on more seeds"
        advice.append(Advice(words, _command("run", run.tag)))
    if sum(trial.kept for trial in state.nulls):
        words = "an edit that does nothing was kept: be stricter"
        advice.append(Advice(words, f"{go_on.command} --keep strict"))
    if state.exhausted:
        told = "; ".join(nothing_left(*one) for one in list(state.exhausted.items())[:2])
        advice.append(Advice(f"write a new hunch into the notes of program.md ({told})", ""))
    if run.state == "stopped" and go_on.command not in [one.command for one in advice]:
        advice.append(go_on)
    return advice


def _command(name: str, tag: str) -> str:
    return f"python -m agent {name} --tag {tag}"


def _around(mean: float, half: float | None) -> Gain:
    """A gain with an interval that is as wide on both sides; None for no interval."""
    return Gain(mean, mean - half, mean + half) if half else Gain(mean, None, None)


def _gain_of(found: Mapping[str, Any] | None) -> Gain | None:
    return Gain(found["mean"], found["low"], found["high"]) if found else None
