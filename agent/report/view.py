"""A campaign as people look at it: one projection of its state, for terminal, page and JSON.

``view`` is a pure function. Its parts answer in this order: what run is this, what did it find, can
that be believed, what does it do now, what shall be done next. Every text is one printable line; a
display has to escape its own markup, since titles, hypotheses and reasons may come from a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from agent.campaign.chain import chain
from agent.campaign.compared import finding
from agent.campaign.learning import prior_course
from agent.campaign.live import Live
from agent.campaign.records import Kind, Outcome, Trial
from agent.campaign.state import State
from agent.judge import Estimate, most_false_keeps
from agent.objective import Objective
from agent.report.summary import (
    Standing,
    cost_name,
    cost_per_gain,
    preset_of,
    standing,
    summed_words,
)
from agent.report.text import clock, meter, nothing_left, plural, span
from agent.report.verification import one_line_of, opening_words, transfer_words
from trainer.untrusted import one_line

Doing = Literal["running", "paused", "waiting", "stopped"]
NEAR_MISSES = 3
RECENT = 10
"""The pace is that of so many trained trials, the last ones."""
COURSE = 60
"""Of the prior over time: at most so many points."""


@dataclass(frozen=True)
class Gain:
    """Bits per byte, positive is better, with the ends of its 95 % interval; None if unknown."""

    mean: float
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """``+0.0123 (+0.0100 to +0.0146)``."""
        return span({"mean": self.mean, "low": self.low, "high": self.high})

    @property
    def is_sure(self) -> bool:
        """Whether it is above 0 beyond luck."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Run:
    """Which campaign it is, and whether something works at it."""

    tag: str
    state: Doing
    waiting: str
    """Why it waits for its model; "" if it does not."""
    until: float | None
    """Unix seconds at which it goes on."""
    stopped: str
    """Why the last run ended; "" if one is under way or was killed."""
    preset: str
    budget: str
    keep: str
    llm: str
    proposer: str
    data: str
    objective: str
    """In words; "" for val_bpb alone."""
    champion: str
    """Full hash of the branch's tip; "" before the baseline has a score."""
    trials: int
    """Finished, without the baseline and null trials: kept + reverted + rejected."""
    kept: int
    reverted: int
    rejected: int


@dataclass(frozen=True)
class Verified:
    """What the last ``verify`` has found about the gain; see ``Found.verified``."""

    gain: Gain
    seeds: int
    trial: int
    """The champion that it is of."""
    is_of_champion: bool
    """False once another trial was kept since."""
    words: str


@dataclass(frozen=True)
class Keep:
    """A kept trial, and whether its gain was seen again."""

    trial: int
    category: str
    title: str
    hypothesis: str
    kind: Kind
    gain: Gain | None
    """Claimed, corrected for the selection."""
    verified: Gain | None
    """By ``verify --each`` on sealed text, None without."""
    transfer: str
    """Whether it holds at other budgets and sizes, in words; "" if nobody tried."""
    sentence: str
    """``trial 14 (schedule) longer warm-down: better by 0.0130 (...)``."""


@dataclass(frozen=True)
class NearMiss:
    """A reverted trial that measured better, but not beyond luck."""

    trial: int
    category: str
    title: str
    hypothesis: str
    gain: Gain
    sentence: str


@dataclass(frozen=True)
class Found:
    """What came out, in bits per byte."""

    cost_name: str
    """``val_bpb``, or ``cost`` where something else is summed."""
    summed: str
    """By what, in words; "" for val_bpb alone."""
    baseline: Estimate | None
    best: Estimate | None
    """The champion; the baseline less the claimed gains."""
    claimed: Gain | None
    """None while the baseline is the champion."""
    verified: Verified | None
    verified_words: str
    """What is verified, or that nothing is and how to do it."""
    keeps: tuple[Keep, ...]
    """Oldest first."""
    near_misses: tuple[NearMiss, ...]
    """The strongest first."""
    by_kind: Mapping[Kind, float]
    """Sum of the gains of what was kept, structure against numbers; empty if nothing was."""
    by_kind_is_verified: bool
    """Whether that is from ``verify --each`` of this champion, not from claims."""


@dataclass(frozen=True)
class Belief:
    """How far the keeps can be trusted."""

    nulls: int
    nulls_kept: int
    most_false: float | None
    """Upper 95 % limit on the share of false keeps; None without a null trial."""
    meter: str
    noise: Mapping[str, float]
    """By kind of edit: standard deviation of a difference."""
    isolation: str
    openings: str
    """How often the sealed test text was opened, in words."""


@dataclass(frozen=True)
class Share:
    """A category's probability for the next trial."""

    category: str
    now: float
    course: tuple[float, ...]
    """After drawn trials, the numbers of which are ``View.course``; 0 before it existed."""
    exhausted: str
    """Why a model says that nothing is left in it; "" if none does."""


@dataclass(frozen=True)
class Cost:
    """What models have cost."""

    usd: float | None
    """None if not all of it is known: a price or a count was not reported, which is not $0."""
    tokens: int
    words: str
    per_gain: float | None
    """US dollars for each hundredth of a bit; None if unknown or the gain is not sure."""
    trained_seconds: float
    """Of device time: all trainings together."""


@dataclass(frozen=True)
class Pace:
    """How fast it goes, and when it ends."""

    seconds: float | None
    """Of a trial: the median of the last ones; None before the first."""
    left: float | None
    """Seconds; None without an end, or where nothing runs."""
    words: str


@dataclass(frozen=True)
class Now:
    """What the running process does at this moment; ``live`` is None if it does not say."""

    words: str
    live: Live | None


@dataclass(frozen=True)
class Advice:
    """What to do next, the most useful first."""

    words: str
    command: str
    """To type; "" if there is none."""


@dataclass(frozen=True)
class Row:
    """A finished trial, one line of a table and one point of the chart."""

    trial: int
    category: str
    credited: str
    """The category that it counts for."""
    title: str
    hypothesis: str
    outcome: Outcome
    finding: str
    """Of a reverted trial: ``lost`` or ``inconclusive``; "" for all others."""
    words: str
    """The verdict."""
    gain: float | None
    gain_half: float | None
    score: float | None
    """Mean val_bpb of the candidate."""
    score_half: float | None
    status: str
    cost: Estimate | None
    """On the chain of champions, as the chart shows it; None for what has no place there."""
    kind: Kind
    proposer: str
    seconds: float
    commit: str
    parent: str


@dataclass(frozen=True)
class View:
    """All of it; ``now`` and ``run.state`` are of this moment, the rest follows from the journal."""

    run: Run
    found: Found
    belief: Belief
    now: Now
    next: tuple[Advice, ...]
    prior: tuple[Share, ...]
    """The most probable first."""
    course: tuple[int, ...]
    """The trials after which ``Share.course`` is known."""
    cost: Cost
    pace: Pace
    rows: tuple[Row, ...]
    """Trial 0, the baseline, first; null trials among them."""
    notes: tuple[str, ...] = ()
    """What else has to be said, as of events that this version does not know."""


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


def _doing(state: State, pid: int | None, paused: bool) -> Doing:
    if pid is None:
        return "stopped"
    if paused and state.open_trial is None:
        return "paused"
    return "waiting" if state.waiting else "running"


def _run(state: State, tag: str, pid: int | None, paused: bool) -> Run:
    settings, counts, champion = state.settings, state.counts, state.champion
    texts = ("preset", "budget", "keep", "llm", "proposer", "data")
    told = {name: one_line(str(settings.get(name) or "")) for name in texts}
    is_by_score = not state.objective
    return Run(
        tag=tag,
        state=_doing(state, pid, paused),
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
        by_kind[trial.kind] = by_kind.get(trial.kind, 0.0) + gain
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
    worth = f"better by {gain.words}" if gain else one_line(trial.words)
    again = f"; verified {verified.words}" if verified else ""
    return Keep(
        trial=trial.trial,
        category=one_line(trial.credited, 40),
        title=one_line(trial.title),
        hypothesis=one_line(trial.hypothesis, 4000),
        kind=trial.kind,
        gain=gain,
        verified=verified,
        transfer=one_line(transfer_words(trial), 1000),
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
        trained_seconds=sum(
            run.wall_seconds for trial in state.trials for run in trial.trainings if not run.reused
        ),
    )


def _pace(state: State, run: Run, now: float) -> Pace:
    taken = [trial.seconds for trial in state.finished[1:] if trial.trainings][-RECENT:]
    each = median(taken) if taken else None
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
