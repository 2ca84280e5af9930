"""The campaign's state: a fold over the journal's events.

``fold(events)`` is the only way from events to state, so a campaign that was killed and one that
was not hold the same state. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    params: int = 0
    peak_memory_mb: float = 0.0
    leak_bound_bpb: float = 0.0
    """What a leak below the audits' resolution could be worth; taken off the gain."""
    isolation: str = ""
    weights_sha256: str = ""


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
    trainings: tuple[Training, ...] = ()
    """Of the candidate, and of the champion while this trial was judged, in order."""
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

    @property
    def scores(self) -> tuple[float, ...]:
        """The candidate's val_bpb values in the order taken; the first is the screening."""
        return self._scores("candidate")

    @property
    def champion_scores(self) -> tuple[float, ...]:
        """The champion's val_bpb values that were taken while this trial was judged."""
        return self._scores("champion")

    def _scores(self, role: Role) -> tuple[float, ...]:
        return tuple(
            t.val_bpb
            for t in self.trainings
            if t.role == role and t.status == "ok" and t.counted and t.val_bpb is not None
        )

    @property
    def kept(self) -> bool:
        return self.verdict == "keep"
