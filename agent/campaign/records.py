"""What the journal remembers of a trial: its proposal, trainings, audits and verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["keep", "revert", "rejected"]
Role = Literal["candidate", "champion"]
Outcome = Literal["kept", "reverted", "failed", "rejected", "open"]


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
    """False for trainings that the judge must not see: disturbed or quarantined ones."""
    quarantined: bool = False
    """Implausibly good score: the candidate is audited and trained again before a verdict."""
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    params: int = 0
    peak_memory_mb: float = 0.0
    disturbance: float = 0.0
    """Share of the processors that other programs used during the training."""
    leak_bound_bpb: float = 0.0
    """Largest gain from a leak too small for the audits to detect; subtracted from the gain."""
    isolation: str = ""
    weights_sha256: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Hardware, software and data with which the score was measured."""

    @property
    def score(self) -> float | None:
        """val_bpb plus ``leak_bound_bpb``, for the judge; None if the training does not count."""
        if self.status != "ok" or not self.counted or self.val_bpb is None:
            return None
        return self.val_bpb + self.leak_bound_bpb


@dataclass(frozen=True)
class Audit:
    """The result of the stronger audit of a candidate, as the journal records it."""

    trial: int
    commit: str
    ok: bool
    status: str
    reason: str = ""
    leak_bound_bpb: float = 0.0
    """Largest gain from a leak that this audit cannot detect, bits per byte."""
    trainings: int = 0
    """Trainings that the candidate had at this audit; after a further one it is out of date."""


@dataclass(frozen=True)
class SentBack:
    """A candidate that failed in its first training and was sent back to its proposer."""

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
    """Hash of the normalised candidate source; equal hashes mean the same experiment."""
    hunks: tuple[str, ...] = ()
    """Digests of the candidate's changes, from ``edits.changes.hunks``."""
    sent_back: tuple[SentBack, ...] = ()
    """Earlier candidates of this trial that failed, oldest first; the last may be ``candidate``."""
    trainings: tuple[Training, ...] = ()
    """Trainings of the candidate, and of the champion while this trial was judged, in order."""
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
    """The current or last proposal; "" after it is turned down."""
    rejections: tuple[str, ...] = ()
    """Why replies of this trial were turned down, or sent back after a training, oldest first."""
    misapplied: int = 0
    """How many replies could not be read or applied as an edit."""
    envelope: str = "edits"
    """Format asked for in the last reply: ``edits`` (SEARCH/REPLACE) or ``file`` (whole file)."""
    turned_down: tuple[str, ...] = ()
    """The replies that ``rejections`` are about."""
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
        """Fingerprints of the programs that this trial trained; empty if it was abandoned."""
        if self.status == "abandoned":
            return ()
        return (self.source_sha256, *(sent.source_sha256 for sent in self.sent_back))

    @property
    def scores(self) -> tuple[float, ...]:
        """The candidate's scores for the judge, in the order taken; the first is the screening.

        After a stronger audit, its leak bound is added to each score.
        """
        return tuple(score + self._charge for score in self.uncharged_scores)

    @property
    def uncharged_scores(self) -> tuple[float, ...]:
        """The candidate's val_bpb values in the order taken; the first is the screening."""
        return self._scores("candidate")

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

    @property
    def champion_scores(self) -> tuple[float, ...]:
        """The champion's val_bpb values that were taken while this trial was judged."""
        return self._scores("champion")

    @property
    def all_scores(self) -> tuple[float, ...]:
        """val_bpb of every training of the candidate that has one, even if it was disturbed."""
        return tuple(t.val_bpb for t in self.of("candidate") if t.val_bpb is not None)

    def _scores(self, role: Role) -> tuple[float, ...]:
        return tuple(t.score for t in self.trainings if t.role == role and t.score is not None)

    def of(self, role: Role) -> list[Training]:
        """Its trainings in one role, in order."""
        return [training for training in self.trainings if training.role == role]

    @property
    def kept(self) -> bool:
        return self.verdict == "keep"

    @property
    def outcome(self) -> Outcome:
        """How the trial ended; ``failed`` is a revert because the training failed."""
        if self.verdict is None:
            return "open"
        if self.verdict == "rejected":
            return "rejected"
        if self.verdict == "keep":
            return "kept"
        return "reverted" if self.val_bpb is not None else "failed"
