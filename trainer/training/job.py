"""The definition of a training, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from trainer.contract import Code
from trainer.data.prepare import Corpus
from trainer.presets import Budget, wall_cap
from trainer.results import Profile, TrainingResult
from trainer.training.machine import Setting

OnEvent = Callable[[dict[str, Any]], None]

GRACE_SECONDS, GRACE_SHARE = 0.3, 0.01
PROFILE_CAP_SECONDS = 20.0
"""A profile that takes so long is given up: its steps are not what they are here for."""


@dataclass(frozen=True)
class Job:
    """All that defines a training."""

    code: Code
    corpus: Corpus
    budget: Budget
    seed: int
    setting: Setting
    on_event: OnEvent
    cancelled: Callable[[], bool]
    trace: str | None = None
    """Recorded clock readings to replay; None for the real clock."""
    champion: str | None = None
    """Compile key of the heat's champion, to whose start-up its own is held; None: to the preset's
    cap alone."""
    may_lend: bool = True
    """Whether it may be lent what was compiled of its source: not if a rival has nothing."""
    profiles: bool = False
    """Whether it is a few steps that only look; nothing of it counts, and nothing is compiled."""

    @property
    def compile_key(self) -> str:
        """By which the compile cache knows what was compiled for it."""
        return f"{self.code.device} {hashlib.sha256(self.code.source.encode()).hexdigest()}"

    def overrun(self) -> float:
        """Seconds after the budget's end within which the weights must arrive."""
        return max(GRACE_SECONDS, GRACE_SHARE * (self.budget.seconds or 0.0))

    def wall_cap(self) -> float:
        """Bound in seconds on a training that does not run on the real clock."""
        if self.profiles:
            return PROFILE_CAP_SECONDS
        return wall_cap(self.budget, self.setting.preset)


class Ended(Exception):
    """The training ended without valid weights."""

    def __init__(self, status: str, reason: str, detail: str = "", outside: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.detail, self.outside = status, reason, detail, outside


@dataclass(frozen=True)
class Trained(TrainingResult):
    """The result of a training whose weights have not been scored."""

    weights: BufferedReader | None = None
    """Open for reading; the caller closes it."""
    outside: bool = False
    """Whether what ended it may have come from outside, so that it says nothing of the source."""
    profile: Profile | None = None
    """Of a job that profiles."""

    def close(self) -> None:
        """Close the weights, if there are any."""
        if self.weights is not None:
            self.weights.close()
