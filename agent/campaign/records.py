"""What the journal remembers of a trial: its proposal, trainings, audits and verdict."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent.campaign.findings import Audit as Audit
from agent.campaign.findings import FailedCandidate as FailedCandidate
from agent.campaign.findings import Transfer as Transfer
from agent.judge import FAILURES, OVERSIZE, REWARD_HIGH, REWARD_LOW, Rule
from agent.objective import BY_SCORE, Objective, of_cost
from trainer.results import Measurement

Verdict = Literal["keep", "revert", "rejected"]
Role = Literal["candidate", "champion"]
Outcome = Literal["kept", "reverted", "failed", "rejected", "null", "open"]
Kind = Literal["numbers", "structure"]
"""Of an edit: one that gives constants other values, and leaves the number of parameters as it is,
shares almost all noise with the champion under one seed; any other edit shares little."""
Proof = Literal["", "same", "other", "slower", "faster", "untimed"]
"""Whether a shorter program computes the same numbers, "" if nobody asked; ``slower``, ``faster``
and ``untimed`` if only its speed is not known to be the same."""
NULL = "null"
"""Category of the null trials, which change nothing; see ``steps.nulls``."""


MEASURED = (
    "status", "reason", "val_bpb", "how", "wall_seconds", "startup_seconds", "train_seconds",
    "score_seconds", "answer_seconds", "steps", "tokens", "params", "peak_memory_mb", "spent",
    "losses", "pace", "leak_bound_bpb", "isolation", "weights_sha256", "fingerprint",
)  # fmt: skip
"""What a campaign remembers of a ``Measurement``, by the same names."""


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
    heat: int | None = None
    """Number of the heat within its trial, from 0; None for the baseline's, which is trained alone,
    and for trainings of the version before heats."""
    how: str = ""
    """``side by side``, ``in turn``, ``alone``."""
    counted: bool = True
    """False for trainings that the judge must not see: quarantined ones, those that test whether an
    edit changes any number, and, before heats, those that other programs disturbed."""
    quarantined: bool = False
    """Implausibly good score: the candidate is audited and trained again before a verdict."""
    reused: bool = False
    """An earlier training of the champion, which repeats bit for bit and was not done again."""
    wall_seconds: float = 0.0
    startup_seconds: float = 0.0
    """Until it was ready for data, or failed; 0 in journals that do not say."""
    train_seconds: float = 0.0
    score_seconds: float | None = None
    """What scoring and its audits took; None in journals that do not say."""
    answer_seconds: float = 0.0
    """What the model took to answer when it was scored; 0 where that is not known."""
    steps: int = 0
    tokens: int = 0
    params: int = 0
    peak_memory_mb: float = 0.0
    spent: float = 1.0
    """Share of the budget that it took; all of it in journals that do not say."""
    losses: tuple[float | None, ...] = ()
    """Training loss by twentieths of the budget, bits per byte of the text that was read."""
    pace: float = 1.0
    """Its fastest over its slowest steps a second."""
    leak_bound_bpb: float = 0.0
    """Largest gain from a leak too small for the audits to detect; subtracted from the gain."""
    isolation: str = ""
    weights_sha256: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Hardware, software and data with which the score was measured."""

    def with_result(self, measured: Measurement) -> Training:
        """This training, now that it is over."""
        return replace(self, **{name: getattr(measured, name) for name in MEASURED})

    @property
    def score(self) -> float | None:
        """val_bpb plus ``leak_bound_bpb``, for the judge; None if the training does not count."""
        if self.status != "ok" or not self.counted or self.val_bpb is None:
            return None
        return self.val_bpb + self.leak_bound_bpb


@dataclass(frozen=True)
class Heat:
    """Champion and candidate trained side by side, as the judge sees it."""

    number: int
    champion: Training
    candidate: Training
    objective: Objective = BY_SCORE

    @property
    def difference(self) -> float | None:
        """Champion's minus candidate's cost, bits per byte; None if one of them does not count."""
        first, second = self.champion, self.candidate
        if first.score is None or second.score is None:
            return None
        cost = self.objective.cost
        return cost(first.score, first) - cost(second.score, second)

    @property
    def lower_by(self) -> float | None:
        """Champion's minus candidate's score, whatever the objective makes of it."""
        first, second = self.champion.score, self.candidate.score
        return None if first is None or second is None else first - second

    @property
    def is_fault(self) -> bool:
        """Whether it failed for no fault of the candidate, and so says nothing about it."""
        return self.champion.status not in ("ok", "abandoned") or self.candidate.status == "killed"


@dataclass(frozen=True)
class Trial:
    """One proposal and all that happened to it. Trial 0 is the baseline."""

    trial: int
    category: str = ""
    propensity: float = 0.0
    """Probability with which the prior drew the category, the first of several."""
    drawn: tuple[str, ...] = ()
    """The categories that the prior drew one after the other, of which ``category`` is the one that
    was taken; empty in journals that do not say."""
    propensities: tuple[float, ...] = ()
    """Probability of each of them among those that were left."""
    follows: str = ""
    """``trial N, same`` or ``trial N, opposite``: what it follows up, in place of the draw."""
    idea: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Where it comes from if it waited: the number of the ``trial`` whose reply held it, too; until
    the verdict also its ``reply`` and ``envelope``."""
    exhausted: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Categories that its replies say have nothing left, and why."""
    proposer: str = ""
    program: str = ""
    """First 12 hex digits of the SHA-256 of program.md as it was read for this trial."""
    objective: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What it is judged by, from ``Objective.recorded``: a later edit changes no difference."""
    keep: Rule | None = None
    """The rule that it is judged by; None in journals that do not say."""
    started: float = 0.0
    """Unix seconds."""
    title: str = ""
    hypothesis: str = ""
    sign: str = ""
    """What would show that the hypothesis is wrong, in its author's words."""
    candidate: str = ""
    """Full hash of the candidate commit, "" when rejected."""
    commit: str = ""
    """Full hash of the final commit, "" until the verdict is in git, and for rejected trials."""
    parent: str = ""
    """Full hash of the champion that the edit was made on."""
    shows: str = ""
    """The category that the edit counts for, if it is another than was asked for."""
    lines_added: int = 0
    lines_removed: int = 0
    size_delta: int = 0
    """By how many statements the candidate is longer than the champion."""
    sets_numbers: bool = False
    """Whether the edit gives numbers other values and leaves as many parameters: see ``Kind``."""
    hides_loss: bool = False
    """Whether the edit changes what the training logs as its loss."""
    reads_clock: str = ""
    """What its train.py reads that is another thing each time, and where: ``facts.reads_clock``."""
    source_sha256: str = ""
    """Hash of the normalised candidate source; equal hashes mean the same experiment."""
    hunks: tuple[str, ...] = ()
    """Digests of the candidate's changes, from ``edits.changes.hunks``."""
    sent_back: tuple[FailedCandidate, ...] = ()
    """Earlier candidates of this trial that failed, oldest first; the last may be ``candidate``."""
    trainings: tuple[Training, ...] = ()
    """Trainings of the candidate, and of the champion while this trial was judged, in order."""
    open_seeds: tuple[int, ...] = ()
    """Seeds of its heat, or training, that was begun and whose end is not in the journal."""
    carried: tuple[str, ...] = ()
    """Candidates that it was before it was carried over to another champion, oldest first."""
    audits: tuple[Audit, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    """Of a kept trial, oldest first."""
    proof: Proof = ""
    forecast: tuple[float, float] | None = None
    """Of an abandoned candidate: the difference that was forecast, and its standard error."""
    verdict: Verdict | None = None
    words: str = ""
    """The verdict in plain words."""
    status: str = ""
    """Status of the training that decided: ``ok``, ``crashed``, ``oom``, ``abandoned``, ... ; "" if
    rejected, ``unjudged`` if the machine was at fault, ``oversize`` above the memory limit."""
    val_bpb: float | None = None
    """Mean of what the candidate's trainings scored."""
    val_bpb_half: float | None = None
    """Half-width of the 95 % interval of ``val_bpb``."""
    gain: float | None = None
    """Champion minus candidate, bits per byte; positive is better. Of a kept trial it is corrected
    for the selection, of an abandoned one it is the forecast."""
    gain_half: float | None = None
    difference: tuple[float, float] | None = None
    """What its heats have shown, or the forecast: mean difference and its standard error."""
    noise: float | None = None
    """Of one heat of its kind of edit, bits per byte, as it was known at the verdict."""
    tie: bool = False
    """Whether it was kept because it is shorter, and no better."""
    tie_cost: float = 0.0
    """What a kept near-tie may cost, bits per byte."""
    level: float | None = None
    """Share of false keeps that the judge allowed it."""
    reward: float | None = None
    seconds: float = 0.0
    """Wall time from the category's draw to the verdict."""
    reply: str = ""
    """The current or last proposal; "" after it is turned down."""
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the proposer remembers of that proposal; see ``proposers.base.Proposal``."""
    prompt_tokens: Mapping[str, int] = field(default_factory=dict, hash=False)
    """By part of the last prompt to a model: about how many tokens; empty if that is not known."""
    rejections: tuple[str, ...] = ()
    """Why replies of this trial were turned down, or sent back after a training, oldest first."""
    misapplied: int = 0
    """How many replies could not be read or applied as an edit."""
    envelope: str = "edits"
    """Format asked for in the last reply: ``edits`` (SEARCH/REPLACE) or ``file`` (whole file)."""
    turned_down: tuple[str, ...] = ()
    """The replies that ``rejections`` are about."""
    null_constant: str = ""
    """The constant that a null trial changes by a millionth; "" if it changes the seed."""
    submitted: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The fields of the ``submissions.Submission`` that it tries; once it has a verdict without
    the files, which are in the journal and, but for conflicts, in git. Empty for all other
    trials."""
    available: tuple[str, ...] = ()
    """Categories that could be drawn."""
    categories: tuple[str, ...] = ()
    """All categories of the program as it was read for this trial."""
    described: tuple[str, ...] = ()
    """Digests of their descriptions, by which a category with another name is recognised."""
    spent: float = 0.0
    """Share of the campaign that was over when the category was drawn."""

    @property
    def wants_proposal(self) -> bool:
        """Whether there is no candidate, or one that failed and was sent back."""
        if self.is_null:
            return False
        return not self.candidate or any(s.candidate == self.candidate for s in self.sent_back)

    @property
    def tried(self) -> tuple[str, ...]:
        """Fingerprints of the programs that this trial trained; empty if nobody judged them."""
        if self.status == "unjudged" or self.is_null or self.is_lost:
            return ()
        return (self.source_sha256, *(sent.source_sha256 for sent in self.sent_back))

    def holds_by(self, objective: Mapping[str, Any]) -> bool:
        """Whether it tells anything by an objective: same costs, same limit, or it never runs."""
        if self.status == OVERSIZE:
            return dict(self.objective) == dict(objective)
        never_ran = self.status in FAILURES and not self.differences
        return never_ran or (of_cost(self.objective) == of_cost(objective) and not self.is_lost)

    @property
    def is_lost(self) -> bool:
        """Whether it could not be carried over to another champion: it says nothing of its edit."""
        return self.verdict == "rejected" and self.candidate != ""

    @property
    def claimed(self) -> float | None:
        """The gain that the author of a submission states, bits per byte."""
        claimed: float | None = self.submitted.get("claimed")
        return claimed

    @property
    def is_null(self) -> bool:
        """Whether its edit is known to do nothing."""
        return self.category == NULL

    @property
    def known(self) -> dict[str, str]:
        """All categories, each with the digest of its description, "" of earlier versions."""
        is_whole = len(self.described) == len(self.categories)
        described = self.described if is_whole else ("",) * len(self.categories)
        return dict(zip(self.categories, described, strict=True))

    def name_today(self, name: str, described: Mapping[str, str]) -> str:
        """Its name among the categories of now, which have these digests of descriptions."""
        told = self.known.get(name)
        same = [now for now, digest in described.items() if digest and digest == told]
        return same[0] if len(same) == 1 and name not in described else name

    @property
    def credited(self) -> str:
        """The category that it counts for."""
        return self.shows or self.category

    @property
    def kind(self) -> Kind:
        """The kind of the edit, as far as its noise goes."""
        return "numbers" if self.sets_numbers else "structure"

    @functools.cached_property  # read many times of each trial in each later one
    def heats(self) -> list[Heat]:
        """The heats of the present candidate that are over, in order."""
        pairs: dict[int, dict[str, Training]] = {}
        for training in self._current():
            if training.heat is not None:
                pairs.setdefault(training.heat, {})[training.role] = training
        how = Objective.of(self.objective)
        return [Heat(n, **pair, objective=how) for n, pair in pairs.items() if len(pair) == 2]

    @functools.cached_property
    def differences(self) -> tuple[float, ...]:
        """Differences of the heats that count, in order, less what a stronger audit charges."""
        found = (heat.difference for heat in self.heats)
        return tuple(difference - self._charge for difference in found if difference is not None)

    @property
    def faults(self) -> list[Heat]:
        """The heats that failed for no fault of the candidate."""
        return [heat for heat in self.heats if heat.is_fault]

    @functools.cached_property
    def judged_heats(self) -> list[Heat]:
        """The heats that say something of the edit: by their difference, or by a forecast of it."""
        return [
            heat
            for heat in self.heats
            if heat.difference is not None or heat.candidate.status == "abandoned"
        ]

    @property
    def scores(self) -> tuple[float, ...]:
        """The candidate's val_bpb values that count, in the order taken."""
        own = [training for training in self._current() if training.role == "candidate"]
        own = [training for training in own if training.heat is not None] or own
        return tuple(t.val_bpb for t in own if t.score is not None and t.val_bpb is not None)

    @property
    def audit(self) -> Audit | None:
        """The last stronger audit of the current candidate, None if there is none."""
        return next((a for a in reversed(self.audits) if a.commit == self.candidate), None)

    @property
    def is_audited(self) -> bool:
        """Whether the candidate was audited since it was last trained."""
        return self.audit is not None and self.audit.trainings == len(self.of("candidate"))

    @property
    def _charge(self) -> float:
        bounds = [a.leak_bound_bpb for a in self.audits if a.commit == self.candidate]
        return max(bounds, default=0.0)

    def _current(self) -> list[Training]:
        """Its trainings without those of candidates that were sent back or carried over."""
        gone = {*self.carried, *(s.candidate for s in self.sent_back)} - {self.candidate}
        heats = {t.heat for t in self.trainings if t.role == "candidate" and t.commit in gone}
        return [t for t in self.trainings if t.heat is None or t.heat not in heats]

    def of(self, role: Role) -> list[Training]:
        """Its trainings in one role, in order."""
        return [training for training in self.trainings if training.role == role]

    @property
    def kept(self) -> bool:
        return self.verdict == "keep"

    @property
    def reward_is_clipped(self) -> bool:
        """Whether its gain was too large, or its loss, for the reward to be linear in it."""
        is_linear = self.gain is not None and self.status != OVERSIZE
        return is_linear and self.reward in (REWARD_LOW, REWARD_HIGH)

    @property
    def outcome(self) -> Outcome:
        """How the trial ended; ``failed`` is a revert because the training failed."""
        if self.verdict is None:
            return "open"
        if self.is_null:
            return "null"
        if self.verdict == "rejected":
            return "rejected"
        if self.verdict == "keep":
            return "kept"
        lost = self.val_bpb is not None or self.status == "abandoned"
        return "reverted" if lost else "failed"
