"""Proposals from a model too weak for code: it picks a constant and a new value for it.

Its prompt lists the constants of one section and what was tried there, and a JSON schema restricts
its reply to values that were not tried yet. The pick is then written as an edit in the usual
format, so that all later steps are the same as for other proposers.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent import edits
from agent.edits.constants import constants
from agent.models.types import Part, Prompt, Reply
from agent.proposers.axes import Axis, tunable
from agent.proposers.base import Context, NothingToPropose, Proposal, ReplyUnusable
from agent.proposers.lessons import view
from agent.proposers.llm import ModelProposer, description
from agent.proposers.tuner import setting

MAX_TOKENS = 200
MOST_CONSTANTS = 4
MOST_TRIED = 5
"""The most constants and past trials in a prompt; the model cannot use more."""
STRIDES, FEW = (6, 3, 1), 8
"""Which values of a range are offered; once all of them were tried, those of the next stride."""

Offer = Mapping[Axis, Sequence[Any]]
"""Untried values by constant."""


@dataclass
class LocalProposer(ModelProposer):
    """Asks a model for the value of one constant at a time."""

    max_tokens: int = MAX_TOKENS

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        """Whether the category's section has a constant with an untried value."""
        return bool(_untried(context))

    def propose(self, context: Context) -> Proposal:
        """Ask for one value.

        Raises:
            NothingToPropose: every value of the section was tried, or it has no constant.
            ReplyUnusable: the reply is cut off or is not one of the offered choices.
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        untried = _untried(context)
        if not untried:
            raise NothingToPropose(
                f"no constant of the {context.category} section has an untried value"
            )
        # A weak model prefers what comes first, so each reply gets another order.
        chosen = _dice(context).sample([*untried], min(len(untried), MOST_CONSTANTS))
        offer = {axis: untried[axis] for axis in chosen}
        reply, proposal = self.ask(self.prompt(context, offer), context)
        pick = _pick(reply, offer)
        if isinstance(pick, str):
            raise ReplyUnusable(pick, proposal)
        edit = setting(context, *pick)
        return replace(proposal, reply=edit, data={"received": reply.text})

    def prompt(self, context: Context, offer: Offer) -> Prompt:
        """The prompt, with the schema that restricts the reply.

        Raises:
            Misconfigured: a template is missing or broken.
        """
        past = [t for t in context.history if t.category == context.category and t.title]
        tried = [view(trial) for trial in past[-MOST_TRIED:]]
        rules = self._templates.render("local-rules", objective=context.program.objective)
        offered = self._templates.render(
            "local-constants",
            category=context.category,
            description=description(context, context.category),
            offer=offer,
        )
        return Prompt(
            (
                Part("rules", rules, fixed=rules),
                Part("constants", offered, fixed=offered),
                Part("tried", self._templates.render("local-tried", tried=tried)),
            ),
            trial=context.trial,
            attempt=len(context.feedback),
            schema=_schema(offer),
            seed=_dice(context).getrandbits(31),
        )


def _dice(context: Context) -> random.Random:
    return random.Random(f"local:{context.seed}:{context.trial}:{len(context.feedback)}")


# --- what is offered ---


def _untried(context: Context) -> Offer:
    replies = [
        reply for t in (*context.history, *context.pending) for reply in (t.reply, *t.turned_down)
    ]
    written = {pair for reply in (*replies, *context.turned_down) for pair in _written(reply)}
    offer: dict[Axis, Sequence[Any]] = {}
    for axis in tunable(context.source, context.category):
        past = {value for name, value in written if name == axis.name}
        left = ([value for value in grid if value not in past] for grid in _grids(axis))
        if first := next(filter(None, left), None):
            offer[axis] = first
    return offer


def _grids(axis: Axis) -> Sequence[Sequence[Any]]:
    """Values that a JSON schema can list: if there are many, a few of them first."""
    listed = [value for value in axis.others if isinstance(value, str | int | float)]
    return [listed[::stride] for stride in (STRIDES if len(listed) > FEW else (1,))]


@functools.lru_cache(maxsize=4096)
def _written(reply: str) -> frozenset[tuple[str, Any]]:
    """Name and value, old and new, of each constant that stands in the reply's blocks."""
    try:
        blocks = edits.parse(reply).blocks
        found = [constants(side) for block in blocks for side in (block.search, block.replace)]
    except (edits.EditError, SyntaxError):
        return frozenset()
    every = itertools.chain.from_iterable(found)
    return frozenset((c.name, c.value) for c in every if isinstance(c.value, str | int | float))


def _schema(offer: Offer) -> str:
    """One alternative for each constant and direction. The pattern fixes the beginning of the
    hypothesis and its characters; without these the model leaves the topic or does not stop."""
    picks = []
    closed = {"type": "object", "additionalProperties": False}
    for axis, values in offer.items():
        for direction, some in itertools.groupby(values, functools.partial(_direction, axis)):
            why = f"^{direction} {axis.name} should lower the loss because [a-z][a-z ,-]{{20,90}}$"
            properties = {
                "name": {"const": axis.name},
                "value": {"enum": list(some)},
                "hypothesis": {"type": "string", "pattern": why},
            }
            picks.append({**closed, "properties": properties, "required": list(properties)})
    return json.dumps({"anyOf": picks})


def _direction(axis: Axis, value: Any) -> str:
    if not axis.is_ordered:
        return "Another"
    return "A higher" if value > axis.champion else "A lower"


# --- what came back ---


def _pick(reply: Reply, offer: Offer) -> tuple[Mapping[str, Any], str] | str:
    """The constant with its value, and the hypothesis, or why the reply cannot be used."""
    if reply.stop_reason != "end":
        return f"the reply ended early ({reply.detail or reply.stop_reason})"
    offered = {axis.name: list(values) for axis, values in offer.items()}
    try:
        pick = json.loads(reply.text)
        name, hypothesis = pick["name"], pick["hypothesis"]
        value = offered[name][offered[name].index(pick["value"])]
    except (ValueError, KeyError, TypeError):
        return "the reply is not a constant, a value and a hypothesis from what was offered"
    if not isinstance(hypothesis, str) or not any(c.isalpha() for c in hypothesis):
        return "the reply has no hypothesis"
    return {name: value}, hypothesis
