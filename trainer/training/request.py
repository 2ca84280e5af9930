"""What the process of a training is told."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import Code
from trainer.presets import Budget

WEIGHTS = "weights.safetensors"
"""The file in its scratch folder in which a training leaves them."""
PROFILE_STEPS = 24
"""Of a profile, at most."""


@dataclass(frozen=True)
class TrainRequest:
    """What the child of a training is to do, once it is confined."""

    code: Code
    seed: int
    budget: Budget
    trace: str | None
    compiles: bool = False
    """Whether it should compile; see ``Session``."""
    packs: bool = False
    """Whether to pack what it has compiled."""
    profiles: bool = False
    """Whether it is a few steps only, in which it looks at itself; see ``instruments``."""
