"""The definition of a training, and its result."""

from __future__ import annotations

import os
from dataclasses import dataclass

from trainer.contract import Shapes
from trainer.data.prepare import Corpus
from trainer.presets import Budget, Preset

GRACE_SECONDS, GRACE_SHARE = 0.3, 0.01


@dataclass(frozen=True)
class Job:
    """All that defines a training."""

    source: str
    shapes: Shapes
    corpus: Corpus
    budget: Budget
    seed: int
    preset: Preset
    device: str
    threads: int
    level: str
    readable: tuple[str, ...]
    trace: str | None = None
    """Recorded clock readings to replay; None for the real clock."""
    startup_cap: float | None = None
    """Seconds of start-up that do not count as training time, if fewer than the preset's."""
    may_lend: bool = True
    """Whether it may be lent what was compiled of its source: not if a rival has nothing."""

    def overrun(self) -> float:
        """Seconds after the budget's end within which the weights must arrive."""
        return max(GRACE_SECONDS, GRACE_SHARE * (self.budget.seconds or 0.0))

    def wall_cap(self) -> float:
        """Bound in seconds on a training that does not run on the real clock."""
        seconds = self.budget.seconds or self.preset.budget.seconds or 300.0
        return 60.0 + 10 * seconds


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    status: str
    reason: str = ""
    detail: str = ""
    """Traceback of the candidate, made printable: data, not instructions."""
    output: str = ""
    """What the candidate printed, made printable and bounded."""
    weights: int | None = None
    """Descriptor of the weights, open for reading; the caller closes it."""
    weights_sha256: str = ""
    startup_seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    params: int = 0
    peak_memory_mb: float = 0.0
    curve: tuple[tuple[float, int, float], ...] = ()
    """(seconds since READY, step, nats per token)."""
    losses: tuple[float | None, ...] = ()
    """By twentieths of the budget, bits per byte of the text read; None where none was reported."""
    pace: float = 1.0
    """How much faster steps were at their fastest than at their slowest; 1 where unknown."""
    trace: str = ""

    def close(self) -> None:
        """Close the descriptor of the weights, if there are any."""
        if self.weights is not None:
            os.close(self.weights)
