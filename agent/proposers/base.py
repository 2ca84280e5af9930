"""The interface of a proposer: given a category and past trials, it returns one edit as text.

Every proposal, from any proposer, is a reply in the same format (``category:``, ``hypothesis:``,
then SEARCH/REPLACE blocks), and the same code in ``edits`` and ``checks`` processes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.campaign.notebook import Notebook
from agent.campaign.records import Trial
from agent.edits.blocks import EditError, Envelope
from agent.judge import Rule
from agent.program import Program
from trainer.data.card import SourceCard
from trainer.presets import Budget

USUAL_BUDGET = Budget(seconds=20.0)


@dataclass(frozen=True)
class Cards:
    """What a researcher would look up before the first idea, and does not change before a keep."""

    vocab_size: int
    """The champion's."""
    seq_len: int
    """Tokens of a row of the champion's."""
    sources: Sequence[SourceCard]
    machine: Mapping[str, str]
    profile: Mapping[str, Any]
    """A ``trainer.results.Profile`` of the champion as JSON has it."""


@dataclass(frozen=True)
class Context:
    """All that a proposer may know when it is asked for trial ``trial``."""

    trial: int
    category: str
    source: str
    """The champion's train.py."""
    program: Program
    history: Sequence[Trial]
    """Finished trials, oldest first; trial 0 is the baseline."""
    prior: Mapping[str, float]
    """Probability of each category when this trial's category was drawn."""
    noise: Mapping[str, float]
    """By kind of edit, ``numbers`` and ``structure``: standard deviation of the difference of one
    heat, bits per byte."""
    seed: int
    """The campaign's seed; with ``trial`` it seeds every draw that a proposer makes."""
    facts: Mapping[str, str]
    """Hardware, preset, budget and the results of the champion, as text."""
    preset: str = ""
    """Name of the preset, by whose scale a prompt says what is known."""
    budget: Budget = USUAL_BUDGET
    """Of a training: it decides what pays."""
    cards: Callable[[], Cards | None] = lambda: None
    """What takes a look at data, machine and champion: called only for the prompt of a model."""
    rule: Rule = "confirm"
    """By which the judge keeps."""
    ties: float = 0.0
    """What all near-ties of the campaign together may cost, bits per byte."""
    feedback: Sequence[str] = ()
    """Why earlier replies in this trial were turned down, oldest first."""
    turned_down: Sequence[str] = ()
    """The replies that ``feedback`` is about."""
    envelopes: Mapping[str, str] = field(default_factory=dict)
    """By model: the reply format (envelope) that this campaign found it to need."""
    notebook: Notebook = field(default_factory=Notebook)
    """Empty where there is none, or where it is switched off."""
    drawn: Sequence[str] = ()
    """The categories among which a model takes its pick."""
    follow_ups: int = 0
    """How many follow-ups of earlier trials are left."""
    ideas: int = 1
    """How many edits a reply may hold."""
    proposer: str = ""
    """Who made what ``feedback`` is about."""
    point: tuple[str, str] | None = None
    """What the tuner would set next in the category, and why; for a model, which may do better."""
    sources: Callable[[str], str] = lambda commit: ""
    """The train.py of a commit of the campaign; "" where it is not known."""
    pending: Sequence[Trial] = ()
    """Trials that are under way beside this one, by number: what they try is not proposed again."""
    replying: Callable[[], AbstractContextManager[None]] = nullcontext
    """What a model's reply is waited for in: others go on meanwhile."""
    asking: Callable[[dict[str, int], float | None], None] = lambda tokens, dollars: None
    """Called before a model is asked, with the most that its reply can take: tokens by kind, and US
    dollars, None if the price is not known."""


@dataclass(frozen=True)
class Proposal:
    """One edit, as text, with its origin."""

    proposer: str
    """``deck``, ``tuner``, ``memory`` or ``llm``: the model is named in the campaign's settings."""
    reply: str
    """The envelope and the blocks or the file, exactly as received."""
    prompt: str = ""
    """The prompt; for the deck and the tuner, the trial record that they rendered."""
    model: str = ""
    """The model that answered, as its server names it; "" where none did."""
    usage: dict[str, int | None] | None = None
    """Tokens by kind (see ``models.types.Usage``), None if the server did not say."""
    cost_usd: float | None = None
    """None if usage or price is not known."""
    envelope: Envelope = "edits"
    """The format that was asked for."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the proposer itself wants to read again from the trial's record, JSON-able."""
    prompt_tokens: Mapping[str, int] = field(default_factory=dict)
    """By part of the prompt, see ``llm.tokens_by_part``; empty where no model was asked."""


REPAIRS: Mapping[str, int] = {"llm": 2}
"""By proposer: how often per trial a candidate that failed in training may go back to it. A recipe
or a number does not improve with feedback."""


def rejected(context: Context, proposer: str, but: tuple[str, ...] = ()) -> int:
    """Number of the proposer's replies in the category that the current champion had no use for,
    but for those for reasons that begin so."""
    since = itertools.takewhile(lambda trial: not trial.kept, reversed(context.history))
    past = [
        trial.rejections
        for trial in since
        if trial.category == context.category and trial.proposer == proposer
    ]
    reasons = itertools.chain(context.feedback, *past)
    return sum(not reason.startswith(but) for reason in reasons)


class NothingToPropose(Exception):
    """This proposer has no untried idea for the category; ask another proposer or category."""


class ReplyUnusable(EditError):
    """A reply came that must not be acted on: cut off, declined, or empty."""

    def __init__(self, message: str, proposal: Proposal) -> None:
        super().__init__(message)
        self.proposal = proposal
        """What was asked and answered, and what it cost."""


class Proposer(Protocol):
    """Anything that answers a context with a proposal."""

    name: str
    attempts: int
    """How many replies are worth a request in one trial; a fixed recipe does not improve."""

    def choices(self, context: Context) -> int:
        """Among how many categories it takes its pick for a trial, none of which is drawn yet; 1 if
        it is told which."""
        ...

    def covers(self, context: Context) -> bool:
        """Whether an idea for ``context.category`` is left; has no side effects."""
        ...

    def propose(self, context: Context) -> Proposal:
        """Answer with one edit.

        Raises:
            NothingToPropose: no idea is left for the category.
        """
        ...
