"""Make the proposer that a run asked for."""

from __future__ import annotations

import threading

from agent.models.types import Model
from agent.proposers.base import Proposer
from agent.proposers.deck import Deck
from agent.proposers.hybrid import Hybrid
from agent.proposers.llm import LLMProposer
from agent.proposers.local import LocalProposer
from agent.proposers.memory.proposer import Memory
from agent.proposers.tuner import Tuner
from trainer.errors import UserError


class ProposerError(UserError):
    """The proposer lacks a model; the message says what to do."""


def researcher(model: Model, cancel: threading.Event) -> Proposer:
    """The proposer that asks ``model``; for a recording, the one for the recorded model."""
    if getattr(model, "recorded", model.name) == "local":
        return LocalProposer(model, cancel=cancel)
    return LLMProposer(model, cancel=cancel)


def writer_of(proposer: Proposer) -> LLMProposer | None:
    """Who can write the notebook: a model that is not too weak for prose; None if there is none."""
    asked = proposer.structure if isinstance(proposer, Hybrid) else proposer
    return asked if isinstance(asked, LLMProposer) else None


def make(proposer: str, llm: Proposer | None, seed: int) -> Proposer:
    """The proposer called ``proposer``: ``llm``, ``deck``, ``tuner`` or ``hybrid``.

    Args:
        llm: the model's proposer, None if there is no model at hand.
        seed: the campaign's.

    Raises:
        ProposerError: ``llm`` without a model.
    """
    if proposer == "llm" and llm is None:
        raise ProposerError(
            "--proposer llm needs a model, and none is at hand: set ANTHROPIC_API_KEY or "
            "OPENAI_API_KEY, or name one, as --llm anthropic:MODEL, --llm openai:MODEL@URL or "
            "--llm 'command:CMD'; without a model use --proposer hybrid"
        )
    structure = llm or Deck()
    return {
        "llm": structure,
        "deck": Deck(),
        "tuner": Tuner(),
        "hybrid": Hybrid(numbers=Tuner(), structure=structure, seed=seed, memory=Memory()),
    }[proposer]
