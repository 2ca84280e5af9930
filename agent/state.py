"""The campaign's state: a fold over the journal's events.

``fold(events)`` is the only way from events to state, so a campaign that was killed and one that
was not hold the same state. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Verdict = Literal["keep", "revert", "rejected"]
Role = Literal["candidate", "champion"]


@dataclass(frozen=True)
class Training:
    """One run of a train.py with one seed, as the journal remembers it."""

    trial: int
    role: Role
    commit: str
    seed: int
    status: str
    reason: str = ""
    val_bpb: float | None = None
    counted: bool = True
    """False for what must never reach the judge: disturbed or quarantined trainings."""
    quarantined: bool = False
    """Too good to be true: audited, and measured again before anything is believed."""
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    params: int = 0
    peak_memory_mb: float = 0.0
    disturbance: float = 0.0
    """Share of the machine that others used meanwhile."""
    leak_bound_bpb: float = 0.0
    """What a leak below the audits' resolution could be worth; taken off the gain."""
    isolation: str = ""
    weights_sha256: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Hardware, software and data that the number belongs to."""

    @property
    def score(self) -> float | None:
        """val_bpb as the judge may see it: of a training that counts, the leak's bound added."""
        if self.status != "ok" or not self.counted or self.val_bpb is None:
            return None
        return self.val_bpb + self.leak_bound_bpb


@dataclass(frozen=True)
class Audit:
    """What the stronger audit of a candidate came to, as the journal remembers it."""

    trial: int
    commit: str
    ok: bool
    status: str
    reason: str = ""
    leak_bound_bpb: float = 0.0
    """What a leak that it would not have seen could be worth, bits per byte."""


@dataclass(frozen=True)
class SentBack:
    """A candidate that failed in its first training and went back to whoever wrote it."""

    candidate: str
    """Full hash of its commit."""
    source_sha256: str


@dataclass(frozen=True)
class Trial:
    """One proposal and all that happened to it. Trial 0 is the baseline."""

    trial: int
    category: str = ""
    propensity: float = 0.0
    """Probability with which the prior drew the category."""
    proposer: str = ""
    program: str = ""
    """First 12 hex digits of the SHA-256 of program.md as it was read for this trial."""
    started: float = 0.0
    """Unix seconds."""
    title: str = ""
    hypothesis: str = ""
    candidate: str = ""
    """Full hash of the candidate commit, "" when rejected."""
    commit: str = ""
    """Full hash of the final commit, "" until the verdict is in git, and for rejected trials."""
    parent: str = ""
    """Full hash of the champion that the edit was made on."""
    lines_added: int = 0
    lines_removed: int = 0
    source_sha256: str = ""
    """Of the normalised candidate source: two equal hashes are the same experiment."""
    hunks: tuple[str, ...] = ()
    """What the candidate changes, as ``hunks.hunks`` tells it."""
    sent_back: tuple[SentBack, ...] = ()
    """Earlier candidates of this trial that failed, oldest first; the last may be ``candidate``."""
    trainings: tuple[Training, ...] = ()
    """Of the candidate, and of the champion while this trial was judged, in order."""
    audits: tuple[Audit, ...] = ()
    verdict: Verdict | None = None
    words: str = ""
    """The verdict in plain words."""
    status: str = ""
    """Status of the training that decided: ``ok``, ``crashed``, ``oom``, ... ; "" if rejected."""
    val_bpb: float | None = None
    """Mean over the candidate's fresh seeds; the screening score while there are none."""
    val_bpb_half: float | None = None
    """Half-width of the 95 % interval of ``val_bpb``."""
    gain: float | None = None
    """Champion minus candidate, bits per byte; positive is better."""
    gain_half: float | None = None
    reward: float | None = None
    seconds: float = 0.0
    """Wall time from the category's draw to the verdict."""
    reply: str = ""
    """The proposal that is being worked on or was, "" once it is turned down."""
    rejections: tuple[str, ...] = ()
    """Why replies of this trial were turned down or came back from a training, oldest first."""
    misapplied: int = 0
    """How many of them could not be read or applied as an edit."""
    envelope: str = "edits"
    """What the last reply was asked to be: ``edits`` (SEARCH/REPLACE) or ``file`` (all of it)."""
    turned_down: tuple[str, ...] = ()
    """Those replies."""
    available: tuple[str, ...] = ()
    """Categories that could be drawn."""
    categories: tuple[str, ...] = ()
    """All categories of the program as it was read for this trial."""

    @property
    def wants_proposal(self) -> bool:
        """Whether there is no candidate, or one that failed and was sent back."""
        return not self.candidate or any(s.candidate == self.candidate for s in self.sent_back)

    @property
    def tried(self) -> tuple[str, ...]:
        """Fingerprints of the programs that it trained; none of one that was given up."""
        if self.status == "abandoned":
            return ()
        return (self.source_sha256, *(sent.source_sha256 for sent in self.sent_back))

    @property
    def scores(self) -> tuple[float, ...]:
        """What the judge sees of the candidate, in the order taken; the first is the screening.

        What a leak could be worth by the stronger audit is taken off, once there was one.
        """
        return tuple(score + self._charge for score in self.uncharged_scores)

    @property
    def uncharged_scores(self) -> tuple[float, ...]:
        """The candidate's val_bpb values in the order taken; the first is the screening."""
        return self._scores("candidate")

    @property
    def audit(self) -> Audit | None:
        """The stronger audit of the present candidate, None while there was none."""
        return next((a for a in reversed(self.audits) if a.commit == self.candidate), None)

    @property
    def _charge(self) -> float:
        return self.audit.leak_bound_bpb if self.audit else 0.0

    @property
    def champion_scores(self) -> tuple[float, ...]:
        """The champion's val_bpb values that were taken while this trial was judged."""
        return self._scores("champion")

    @property
    def all_scores(self) -> tuple[float, ...]:
        """val_bpb of every training of the candidate that went through, disturbed ones too."""
        return tuple(t.val_bpb for t in self.of("candidate") if t.val_bpb is not None)

    def _scores(self, role: Role) -> tuple[float, ...]:
        return tuple(t.score for t in self.trainings if t.role == role and t.score is not None)

    def of(self, role: Role) -> list[Training]:
        """Its trainings in one role, in order."""
        return [training for training in self.trainings if training.role == role]

    @property
    def kept(self) -> bool:
        return self.verdict == "keep"


@dataclass
class State:
    """A campaign after the events seen so far. Changed by ``apply`` only."""

    settings: dict[str, Any] = field(default_factory=dict)
    """What every training of the campaign shares, and what the last run asked for."""
    trials: list[Trial] = field(default_factory=list)
    """By number; all but the last have a verdict."""
    started: Training | None = None
    """A training that was begun and whose end is not in the journal."""
    count: int = 0
    """Trainings begun, which numbers their seeds."""
    champion_runs: dict[str, list[Training]] = field(default_factory=dict)
    """By commit: trainings that measured it as champion, with seeds that did not choose it."""
    program_text: str = ""
    """program.md as it was last read whole."""
    cost: float | None = 0.0
    """US dollars for models' replies; None once one was paid for at an unknown price."""
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens by kind, as far as the servers told."""
    waiting: str = ""
    """Why the run waits for its model, "" when it does not."""
    outages: int = 0
    """How often in a row the model did not answer."""
    stop_reason: str = ""
    envelopes: dict[str, str] = field(default_factory=dict)
    """By model: the envelope that it was found to need in this campaign."""
    unknown: int = 0
    """Events that this version does not know."""

    @property
    def open_trial(self) -> Trial | None:
        """The trial that has no verdict yet."""
        if self.trials and self.trials[-1].verdict is None:
            return self.trials[-1]
        return None

    @property
    def tokens(self) -> int:
        """To and from models, cached ones included; what was thought is part of the output."""
        return sum(count for kind, count in self.usage.items() if kind != "reasoning")

    @property
    def finished(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.verdict is not None]

    @property
    def champion(self) -> Trial | None:
        """The kept trial that the branch stands on; None before the baseline."""
        return next((trial for trial in reversed(self.trials) if trial.kept), None)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by verdict, the baseline in none."""
        verdicts = [trial.verdict for trial in self.finished if trial.trial > 0]
        return {kind: verdicts.count(kind) for kind in ("keep", "revert", "rejected")}

    def champion_scores(self) -> list[float]:
        """The champion's scores with fresh seeds, oldest first."""
        champion = self.champion
        runs = self.champion_runs.get(champion.commit, []) if champion is not None else []
        return [run.score for run in runs if run.score is not None]

    def replicates(self) -> list[list[float]]:
        """Scores by source: groups that differ by nothing but the seed."""
        groups: dict[str, list[float]] = {}
        for trial in self.trials:
            for training in trial.trainings:
                if training.score is not None:
                    groups.setdefault(training.commit, []).append(training.score)
        return list(groups.values())

    def trials_since_keep(self) -> int:
        count = 0
        for trial in reversed(self.finished):
            if trial.kept:
                break
            count += trial.verdict == "revert"
        return count

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event into account; events of a newer version are counted and passed over."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is None:
            self.unknown += 1
            return
        handler({k: v for k, v in event.items() if k not in ("n", "event")})

    def _on_campaign(self, event: dict[str, Any]) -> None:
        self.settings |= {k: v for k, v in event.items() if k != "time"}

    def _on_run(self, event: dict[str, Any]) -> None:
        self.settings |= {k: v for k, v in event.items() if k != "time"}
        self.stop_reason = self.waiting = ""

    def _on_stop(self, event: dict[str, Any]) -> None:
        self.stop_reason = event["reason"]

    def _on_program(self, event: dict[str, Any]) -> None:
        self.program_text = event["text"]

    def _on_trial(self, event: dict[str, Any]) -> None:
        self.trials.append(_trial(Trial(event["trial"], started=event["time"]), event))

    def _on_proposed(self, event: dict[str, Any]) -> None:
        self._update(
            proposer=event["proposer"],
            reply=event["reply"],
            envelope=event.get("envelope", "edits"),
        )
        self.waiting, self.outages = "", 0
        if event.get("model"):
            self._spend(event["cost_usd"], event["usage"])

    def _on_waiting(self, event: dict[str, Any]) -> None:
        self.waiting = event["reason"]
        self.outages += 1
        if event["usage"]:
            self._spend(event["cost_usd"], event["usage"])

    def _spend(self, cost: float | None, usage: Mapping[str, int | None] | None) -> None:
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        for kind, tokens in (usage or {}).items():
            self.usage[kind] = self.usage.get(kind, 0) + (tokens or 0)

    def _on_turned_down(self, event: dict[str, Any]) -> None:
        trial = self.trials[-1]
        self._update(
            rejections=(*trial.rejections, event["reason"]),
            turned_down=(*trial.turned_down, trial.reply),
            misapplied=trial.misapplied + bool(event.get("misapplied")),
            reply="",
        )

    def _on_repair(self, event: dict[str, Any]) -> None:
        self._on_turned_down(event)
        trial = self.trials[-1]
        sent = SentBack(trial.candidate, trial.source_sha256)
        self._update(sent_back=(*trial.sent_back, sent))

    def _on_envelope(self, event: dict[str, Any]) -> None:
        self.envelopes[event["model"]] = event["envelope"]

    def _on_candidate(self, event: dict[str, Any]) -> None:
        self.trials[-1] = _trial(self.trials[-1], event)

    def _on_training_started(self, event: dict[str, Any]) -> None:
        if self.started is None:
            self.count += 1
        self.started = _training(event)

    def _on_training(self, event: dict[str, Any]) -> None:
        training = _training(event)
        self.started = None
        trial = self.trials[-1]
        self._update(trainings=(*trial.trainings, training))
        # The baseline was chosen by nobody, so its first score is as good as a fresh one.
        if training.role == "champion" or training.trial == 0:
            self.champion_runs.setdefault(training.commit, []).append(training)

    def _on_audit(self, event: dict[str, Any]) -> None:
        known = {k: v for k, v in event.items() if k in _AUDIT_FIELDS}
        self._update(audits=(*self.trials[-1].audits, Audit(**known)))

    def _on_verdict(self, event: dict[str, Any]) -> None:
        candidate = self.trials[-1].candidate
        self.trials[-1] = _trial(self.trials[-1], event)
        final = self.trials[-1].commit
        if candidate in self.champion_runs:
            self.champion_runs[final] = self.champion_runs.pop(candidate)

    def _update(self, **changes: Any) -> None:
        self.trials[-1] = replace(self.trials[-1], **changes)


_TRIAL_FIELDS = {f.name for f in fields(Trial)} - {
    "trial",
    "trainings",
    "audits",
    "rejections",
    "misapplied",
    "sent_back",
    "started",
}
_AUDIT_FIELDS = {f.name for f in fields(Audit)}
_TRAINING_FIELDS = {f.name for f in fields(Training)}


def _trial(trial: Trial, event: Mapping[str, Any]) -> Trial:
    known: dict[str, Any] = {k: v for k, v in event.items() if k in _TRIAL_FIELDS}
    for name in {"available", "categories", "hunks"} & known.keys():
        known[name] = tuple(known[name])
    return replace(trial, **known)


def _training(event: Mapping[str, Any]) -> Training:
    return Training(**{k: v for k, v in event.items() if k in _TRAINING_FIELDS})


def fold(events: Iterable[Mapping[str, Any]]) -> State:
    """The state after ``events``, oldest first."""
    state = State()
    for event in events:
        state.apply(event)
    return state
