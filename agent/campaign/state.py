"""The campaign's state: a fold over the journal's events.

``fold(events)`` is the only way from events to state, so a campaign that was killed and
resumed has the same state as one that was not. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, assert_never

from agent.campaign import device_time, events
from agent.campaign.happened import Usage
from agent.campaign.notebook import Notebook, NotebookAnswered, NotebookRead
from agent.campaign.records import FailedCandidate, Training, Trial
from agent.campaign.so_far import SoFar
from agent.objective import Objective, of_cost
from trainer.errors import UserError


@dataclass
class State:
    """A campaign after the events seen so far. Changed by ``apply`` only."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that all trainings of the campaign share, and those of the last run."""
    given: dict[str, Any] = field(default_factory=dict)
    """Command-line settings that also hold for later runs; see ``settings.remember``."""
    trials: list[Trial] = field(default_factory=list)
    """By number. Those of a run with several lanes are under way side by side."""
    ended: list[int] = field(default_factory=list)
    """Numbers of the trials that have a verdict, in the order of their verdicts."""
    seeds_used: int = 0
    """Number of seeds handed out; each new one is derived from it."""
    champion_runs: dict[str, list[Training]] = field(default_factory=dict)
    """By commit: its trainings as champion, with seeds that were not used to select it. The
    baseline's own are among them, since nothing selected it."""
    run_began: float = 0.0
    """Unix seconds at which the last run began; 0 before the first."""
    program_text: str = ""
    """The last valid text of program.md that was read."""
    cost: float | None = 0.0
    """US dollars for models' replies; None once the price of a reply was unknown. A lower bound if
    some replies are ``unanswered``, an upper one if some are ``capped``."""
    unanswered: int = 0
    """Replies that were cut off by an outage, or with an earlier version. ``cost`` and ``usage``
    include only what the servers reported of them, which may be nothing."""
    capped: int = 0
    """Replies that were cut off, and are counted at the most that they can have used."""
    capped_usd: float = 0.0
    """Their part of ``cost``."""
    asking: bool = False
    """Whether a reply was asked for and nothing about it is in the journal yet."""
    asking_for: int = 0
    """The trial that it is for; of the notebook the number of the next one."""
    most_usage: dict[str, int | None] | None = None
    """The most tokens that this reply can use; None with an earlier version."""
    most_usd: float | None = None
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens by kind, as far as the servers reported them."""
    waiting: str = ""
    """Why the run waits for its model; "" if it does not wait."""
    until: float | None = None
    """Unix seconds at which a waiting run continues; None if unknown."""
    outages: int = 0
    """Number of consecutive requests that the model did not answer."""
    stop_reason: str = ""
    envelopes: dict[str, str] = field(default_factory=dict)
    """By model: the reply format (envelope) that this campaign found it to need."""
    openings: list[str] = field(default_factory=list)
    """Each opening of the sealed test text: by which command, oldest first."""
    verified: dict[str, Any] = field(default_factory=dict)
    """What the last verification found; empty if there was none."""
    harvested: dict[str, Any] = field(default_factory=dict)
    """``pairs``: what harvests have measured, oldest first. ``result``: of the last to come to its
    end. ``made``: by branch, its commits ever. ``offered``: what the loop was given to leave out,
    as pairs of champion and trial."""
    lent: dict[str, float] = field(default_factory=dict)
    """By category: what the prior started from; empty if from nothing, as of earlier versions."""
    lent_described: dict[str, str] = field(default_factory=dict)
    """Digests of those categories' descriptions; empty with an earlier version."""
    lent_by: str = ""
    """That campaign, and how alike it is."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Of the last champion that was profiled: ``commit``, and what was ``found``."""
    queue: list[dict[str, Any]] = field(default_factory=list)
    """Ideas that wait, oldest first: see ``Trial.idea``."""
    exhausted: dict[str, str] = field(default_factory=dict)
    """By category: why a model says that nothing is left in it, for the champion of now."""
    notebook: Notebook = field(default_factory=Notebook)
    clock: device_time.Clock = field(default_factory=lambda: device_time.NEW)
    """Where its time went, for ``device_time``."""
    unknown: list[str] = field(default_factory=list)
    """Names of the events that this version does not know; they were left out."""

    def __post_init__(self) -> None:
        self._so_far = SoFar(self.trials)
        self._open: tuple[tuple[int, int, int], list[int]] = (0, 0, 0), []  # replaced as a whole

    @property
    def left_out(self) -> str:
        """What to tell of events that this version does not know, "" if there are none."""
        names = ", ".join(sorted(set(self.unknown)))
        return names and (
            f"{len(self.unknown)} of the journal's events ({names}) are of a newer version of "
            "autoresearch, and left out: what is said of this campaign may be wrong; install the "
            "version that wrote them"
        )

    @property
    def open_trials(self) -> list[Trial]:
        """The trials that have no verdict yet, by number; any thread may ask."""
        trials, of = self.trials, (id(self.trials), len(self.trials), len(self.ended))
        if self._open[0] != of:
            newest = (n for n in reversed(range(of[1])) if trials[n].verdict is None)
            self._open = of, [*islice(newest, of[1] - of[2])][::-1]
        return [one for number in self._open[1] if (one := trials[number]).verdict is None]

    @property
    def open_trial(self) -> Trial | None:
        """The first of the trials that have no verdict yet."""
        return next(iter(self.open_trials), None)

    @property
    def objective(self) -> Mapping[str, Any]:
        """The objective in force: the last trial's."""
        return self.trials[-1].objective if self.trials else {}

    @property
    def objectives(self) -> list[str]:
        """Those by which what was kept was measured, in words: several if program.md was edited."""
        kept = [of_cost(trial.objective) for trial in self.kept]
        return list(dict.fromkeys(Objective.of(one).words() for one in kept))

    @property
    def tokens(self) -> int:
        """Tokens to and from models, including cached ones; reasoning is part of the output."""
        return sum(count for kind, count in self.usage.items() if kind != "reasoning")

    @property
    def finished(self) -> list[Trial]:
        """Trials with a verdict, in the order of their verdicts; null trials and the baseline are
        among them."""
        return self.so_far.finished

    @property
    def in_order(self) -> list[Trial]:
        """The finished trials, then those that are under way."""
        return [*self.finished, *self.open_trials]

    @property
    def real(self) -> list[Trial]:
        """Finished trials that tried an edit, and the baseline."""
        return self.so_far.real

    @property
    def kept(self) -> list[Trial]:
        """The baseline and the trials that were champion, in order."""
        return self.so_far.kept

    @property
    def so_far(self) -> SoFar:
        same = self._so_far.of is self.trials
        self._so_far = (self._so_far if same else SoFar(self.trials)).after(self.ended)
        return self._so_far

    @property
    def nulls(self) -> list[Trial]:
        """Null trials that were judged."""
        return self.so_far.nulls

    @property
    def champion(self) -> Trial | None:
        """The last kept trial, which the branch points to; None before the baseline."""
        return next(reversed(self.kept), None)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by verdict, without the baseline and null trials."""
        return self.so_far.counts

    @property
    def ties_cost(self) -> float:
        """What all kept near-ties together may cost, bits per byte."""
        return sum(trial.tie_cost for trial in self.kept)

    def runs_of(self, trial: Trial) -> list[Training]:
        """Trainings of a kept trial as champion, with seeds that did not select it."""
        return self.champion_runs.get(trial.commit or trial.candidate, [])

    def apply(self, event: events.Event) -> None:
        """Apply one event; one that this version does not know is remembered by its name."""
        self.clock = device_time.after(self.clock, event)
        match event:
            case events.CampaignBegun():
                self.settings |= event.settings
            case events.RunBegun():
                self._begin_run(event)
            case events.RunEnded():
                self._lose_reply()
                self.stop_reason = event.reason
            case events.ProgramRead():
                self.program_text = event.text
            case events.TrialBegun():
                self.waiting = ""
                self.queue = self.queue[bool(event.idea) :]
                self.trials.append(Trial(event.trial, started=event.time, **event.own))
            case events.Asking():
                self._lose_reply()
                self.asking, self.asking_for, self.most_usd = True, event.trial, event.cost_usd
                self.most_usage = dict(event.usage) if event.usage is not None else None
            case events.Proposed():
                self._take_reply(event)
            case events.IdeaDropped():
                self.queue = self.queue[1:]
            case events.Waiting():
                self._wait(event)
            case events.Refused():
                self.asking = False
            case events.TurnedDown():
                self._turn_down(event, event.misapplied)
            case events.SentBack():
                self._send_back(event)
            case events.EnvelopeChosen():
                self.envelopes[event.model] = event.envelope
            case events.CandidateMade():
                self._update(event.trial, proof="", **event.own)
            case events.CarriedOver():
                before = self.trials[event.trial]
                carried = (*before.carried, before.candidate)
                self._update(event.trial, proof="", carried=carried, open_seeds=(), **event.own)
            case events.TrainingBegun():
                self._hand_out(event.trial, (event.seed,), 1)
            case events.TrainingOver():
                self._add_trainings(event.training.trial, (event.training,))
            case events.HeatBegun():
                # A proof has the champion's own seed, which no heat of the judge's may have.
                seeds = () if event.proof else event.seeds
                self._hand_out(event.trial, seeds, event.new_seeds)
            case events.HeatOver():
                self._end_heat(event)
            case events.Proved():
                self._update(event.trial, proof=event.proof)
            case events.Audited():
                number = event.audit.trial
                self._update(number, audits=(*self.trials[number].audits, event.audit))
            case events.Concluded():
                self._conclude(event)
            case events.Opened():
                self.openings.append(event.by)
            case events.Verified():
                self.verified = dict(event.found)
            case events.Transferred():
                number = event.transfer.trial
                known = self.trials[number].transfers
                self._update(number, transfers=(*known, event.transfer))
            case events.Harvested():
                pairs = [*self.harvested.get("pairs", ()), *event.found.get("pairs", ())]
                self.harvested = {**self.harvested, **event.found, "pairs": pairs}
            case events.PriorLent():
                self.lent, self.lent_described = dict(event.logits), dict(event.described)
                self.lent_by = event.tag and f"{event.tag}, {event.alike:.0%} alike"
            case events.Profiled():
                self.profile = event.own
            case NotebookAnswered():
                self._note(event)
            case NotebookRead():
                self.notebook = self.notebook.read(event.text)
            case events.Paused() | events.Retired():
                pass
            case events.Unknown():
                self.unknown.append(event.event)
            case _:
                assert_never(event)

    def _begin_run(self, event: events.RunBegun) -> None:
        self._lose_reply()
        self.given = dict(event.given)
        self.settings |= {"pid": event.pid, **event.settings}
        self.stop_reason = self.waiting = ""
        self.run_began = event.time

    def _take_reply(self, event: events.Proposed) -> None:
        told = {"proposer": event.proposer, "reply": event.reply, "data": event.data}
        told |= {"envelope": event.envelope, "prompt_tokens": event.prompt_tokens}
        told |= {name: own for name in ("program", "parent") if (own := getattr(event, name))}
        told |= {"category": event.category, "follows": event.follows} if event.category else {}
        exhausted = {**self.trials[event.trial].exhausted, **event.exhausted}
        self._update(event.trial, exhausted=exhausted, **told)
        like = {"trial": event.trial, "envelope": event.envelope, "parent": event.parent}
        self.queue = [*self.queue, *({**like, "reply": idea} for idea in event.ideas)]
        self.waiting, self.outages, self.asking = "", 0, False
        if event.model:
            self._spend(event.cost_usd, event.usage)

    def _wait(self, event: events.Waiting) -> None:
        self.waiting, self.until = event.reason, event.until
        self.outages += 1
        self._go_without(event)

    def _note(self, event: NotebookAnswered) -> None:
        self._go_without(event) if not event.model else self._spend(event.cost_usd, event.usage)
        self.asking, self.notebook = False, self.notebook.answered(event, len(self.real))

    def _go_without(self, event: events.Waiting | NotebookAnswered) -> None:
        """Count what is known of a reply that did not come."""
        if event.lost:
            self._lose_reply()
        self.asking = False
        if event.usage:
            self.unanswered += 1
            self._spend(event.cost_usd or 0.0, event.usage)

    def _lose_reply(self) -> None:
        """Count a requested reply without a result at the most that it can have cost."""
        if self.asking and self.most_usage is not None:
            self.capped += 1
            self.capped_usd += self.most_usd or 0.0
            self._spend(self.most_usd, self.most_usage)
        else:
            self.unanswered += self.asking
        self.asking = False

    def _spend(self, cost: float | None, usage: Usage | None) -> None:
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        for kind, tokens in (usage or {}).items():
            self.usage[kind] = self.usage.get(kind, 0) + (tokens or 0)

    def _turn_down(
        self, event: events.TurnedDown | events.SentBack, misapplied: bool = False
    ) -> None:
        trial = self.trials[event.trial]
        self._update(
            event.trial,
            rejections=(*trial.rejections, event.reason),
            turned_down=(*trial.turned_down, trial.reply),
            misapplied=trial.misapplied + misapplied,
            reply="",
        )

    def _send_back(self, event: events.SentBack) -> None:
        self._turn_down(event)
        trial = self.trials[event.trial]
        gone = FailedCandidate(trial.candidate, trial.source_sha256)
        self._update(event.trial, sent_back=(*trial.sent_back, gone))

    def _hand_out(self, number: int, seeds: tuple[int, ...], new: int) -> None:
        if not self.trials[number].open_seeds:
            self.seeds_used += new
        self._update(number, open_seeds=seeds)

    def _end_heat(self, event: events.HeatOver) -> None:
        self._add_trainings(event.trial, event.trainings)
        trial = self.trials[event.trial]
        proof, forecast = event.proof or trial.proof, event.forecast or trial.forecast
        self._update(event.trial, proof=proof, forecast=forecast)

    def _add_trainings(self, number: int, trainings: tuple[Training, ...]) -> None:
        known = self.trials[number].trainings
        self._update(number, trainings=(*known, *trainings), open_seeds=())
        for training in trainings:
            if (training.role == "champion" or training.trial == 0) and not training.reused:
                self.champion_runs.setdefault(training.commit, []).append(training)

    def _conclude(self, event: events.Concluded) -> None:
        self.asking = self.asking and self.asking_for != event.trial
        before, files = self.trials[event.trial], {"source", "base"}
        submitted = {k: v for k, v in before.submitted.items() if k not in files}
        idea = {k: v for k, v in before.idea.items() if k == "trial"}
        self._update(event.trial, submitted=submitted, idea=idea, **event.own)
        self.ended.append(event.trial)
        trial = self.trials[event.trial]
        if trial.kept and not trial.is_null:
            self.exhausted = {}
        else:
            self.exhausted = {**self.exhausted, **trial.exhausted}
        if before.candidate in self.champion_runs:
            self.champion_runs[event.commit] = self.champion_runs.pop(before.candidate)

    def _update(self, number: int, **changes: Any) -> None:
        if self.trials[number].verdict is not None:
            self._so_far.forget()
        self.trials[number] = replace(self.trials[number], **changes)


def fold(happened: Iterable[events.Event], state: State | None = None) -> State:
    """The state after all that happened, oldest first, from the start or from a ``state`` on.

    Raises:
        UserError: something happened to a trial before any trial began.
    """
    state = State() if state is None else state
    for event in happened:
        try:
            state.apply(event)
        except IndexError:
            raise UserError(
                f"event {event.n} of the journal, {event.event}, is of a trial that never began: "
                "the journal is not whole; restore it from a copy"
            ) from None
    return state
