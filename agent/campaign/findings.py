"""What else is found out of a trial's candidate: by the stronger audit, and at another setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    seconds: float = 0.0
    """What it took; 0 in journals that do not say."""


@dataclass(frozen=True)
class FailedCandidate:
    """A candidate that failed in its first training and was sent back to its proposer."""

    candidate: str
    """Full hash of its commit."""
    source_sha256: str


@dataclass(frozen=True)
class Transfer:
    """Whether a kept edit's gain holds where it was not chosen: at another budget or size."""

    trial: int
    commit: str
    setting: str
    """What was changed, as ``budget 4x`` or ``DEPTH 2x``."""
    label: Literal["transfers", "budget-bound", "undecided"]
    gain: float
    """Mean difference to its parent there, bits per byte of validation text."""
    low: float
    """The 95 % interval's ends."""
    high: float
    seeds: int
