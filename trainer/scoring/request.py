"""What the processes of a scoring are told."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import Code
from trainer.sandbox.confine import Confinement


@dataclass(frozen=True)
class ScoreRequest:
    """What the scorer is to do; the weights come with it as a descriptor."""

    code: Code
    confinement: Confinement
    """For the process that holds the weights."""
    tokens: str
    """File of the tokens to score."""
    text_bytes: int
    budget_seconds: float
    startup_seconds: float
    """A process that holds the weights may take so long to load them."""
    max_windows: int | None = None
    """Score only this many windows, the first ones; None for all."""
    champion_seconds: float = 0.0
    """What the champion took to answer the same text; 0 where that is not known."""
    claimed_bpb: float | None = None
    """The score that these weights got; if given, the stronger audit is made."""
    audit_seconds: float = 0.0
    """The stronger audit asks about as many positions as fit into this time."""
    enough_bpb: float = 0.0
    """It asks no more positions than make its bound as small as this."""
    by_document: bool = False
    """Whether the answer to a scoring has the bits that each document cost."""


@dataclass(frozen=True)
class AnswerRequest:
    """What the process that holds the weights is to do, once it is confined.

    Its descriptors are the weights, the memory for ids (int64) and that for logits (float32), each
    of which is ``slots`` equal parts.
    """

    code: Code
    slots: int
    untrained: bool
    """Whether the model stays as ``build_model`` made it."""
