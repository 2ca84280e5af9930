"""What the process of a training is told."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import Spec
from trainer.presets import Budget


@dataclass(frozen=True)
class TrainRequest:
    """What the child of a training is to do, once it is confined."""

    source: str
    spec: Spec
    seed: int
    device: str
    threads: int
    budget: Budget
    trace: str | None
    weights: str
    """Where to save them."""
    packs: bool = False
    """Whether to pack what it has compiled."""
