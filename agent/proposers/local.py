"""Proposals from a model too weak for code: it picks a constant and a new value for it.

Its prompt lists the constants of one section and what was tried there, and a JSON schema restricts
its reply to values that were not tried yet. The pick is then written as an edit in the usual
format, so that all later steps are the same as for other proposers.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent import edits
from agent.edits.blocks import render
from agent.edits.constants import Choice, constants, format_literal, set_constants
from agent.models.types import Model, Part, Prompt, Reply
from agent.proposers.base import Context, NothingToPropose, Proposal, ReplyUnusable
from agent.proposers.llm import view
from agent.proposers.prompts import PROMPTS, templates
from agent.proposers.tuner import Axis, tunable

MAX_TOKENS = 200
MOST_CONSTANTS = 4
MOST_TRIED = 5
"""The most constants and past trials in a prompt; the model cannot use more."""
GRIDS = 8, 16, 48
"""Values per grid over a range, ends included; once all of a grid were tried, the next is used."""
COMMENT_LENGTH = 120

Offer = Mapping[str, Sequence[Any]]
"""Untried values by constant."""


class LocalProposer:
    """Asks a model for the value of one constant at a time."""

    name = "llm"
    attempts = 3

    def __init__(
        self,
        model: Model,
        prompts_dir: Path = PROMPTS,
        cancel: threading.Event | None = None,
    ) -> None:
        self._model = model
        self._cancel = cancel
        self._templates = templates(prompts_dir)

    def covers(self, context: Context) -> bool:
        """Whether the category's section has a constant with an untried value."""
        return any(_untried(context))

    def propose(self, context: Context) -> Proposal:
        """Ask for one value.

        Raises:
            NothingToPropose: every value of the section was tried, or it has no constant.
            ReplyUnusable: the reply is cut off or is not one of the offered choices.
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        offer = _offer(context)
        if not offer:
            raise NothingToPropose(
                f"no constant of the {context.category} section has an untried value"
            )
        prompt = self.prompt(context, offer)
        reply = self._model.complete(prompt, max_tokens=MAX_TOKENS, cancel=self._cancel)
        pick = _pick(reply, offer)
        text = _envelope(context, pick, reply.text) if isinstance(pick, Mapping) else reply.text
        proposal = Proposal(
            proposer=self.name,
            reply=text,
            prompt=f"{prompt.text}\nJSON schema of the reply: {prompt.schema}\n",
            model=reply.model,
            usage=asdict(reply.usage) if reply.usage is not None else None,
            cost_usd=0.0,
        )
        if isinstance(pick, str):
            raise ReplyUnusable(pick, proposal)
        return proposal

    def prompt(self, context: Context, offer: Offer) -> Prompt:
        """The prompt, with the schema that restricts the reply.

        Raises:
            Misconfigured: a template is missing or broken.
        """
        known = {axis.name: axis for axis in tunable(context.source, context.category)}
        program = {c.name: c.description for c in context.program.categories}
        views = [view(trial) for trial in context.history]
        rules = self._templates.render("local-rules")
        offered = self._templates.render(
            "local-constants",
            category=context.category,
            description=program.get(context.category, ""),
            constants=[
                {
                    "name": name,
                    "value": format_literal(known[name].champion),
                    "comment": known[name].meaning[:COMMENT_LENGTH],
                    "low": format_literal(min(values)) if known[name].is_ordered else "",
                    "high": format_literal(max(values)) if known[name].is_ordered else "",
                    "options": [format_literal(value) for value in values],
                }
                for name, values in offer.items()
            ],
        )
        tried = self._templates.render(
            "local-tried",
            tried=[v for v in views if v.category == context.category and v.title][-MOST_TRIED:],
        )
        seed = hashlib.sha256(
            f"local:{context.seed}:{context.trial}:{len(context.feedback)}".encode()
        )
        return Prompt(
            (
                Part("rules", rules, fixed=rules),
                Part("constants", offered, fixed=offered),
                Part("tried", tried),
            ),
            trial=context.trial,
            attempt=len(context.feedback),
            schema=_schema(context, offer),
            seed=int.from_bytes(seed.digest()[:4]) >> 1,
        )


# --- what is offered ---


def _offer(context: Context) -> Offer:
    """Constants of the section with values that were not tried, in a new random order for each
    reply, because a weak model prefers what comes first."""
    offer = dict(_untried(context))
    dice = random.Random(f"local:{context.seed}:{context.trial}:{len(context.feedback)}")
    names = dice.sample(sorted(offer), min(len(offer), MOST_CONSTANTS))
    return {name: offer[name] for name in names}


def _untried(context: Context) -> Iterator[tuple[str, Sequence[Any]]]:
    tried = _tried(context)
    for axis in tunable(context.source, context.category):
        past = {axis.champion, *tried.get(axis.name, ())}
        for values in _values(axis):
            left = [value for value in values if value not in past]
            if left:
                yield axis.name, left
                break


def _values(axis: Axis) -> Iterator[Sequence[Any]]:
    """Values that a JSON schema can list: all of them, or grids over a range, coarse ones first."""
    if isinstance(axis.domain, Choice):
        yield [v for v in axis.domain.options if isinstance(v, str | int | float)]
        return
    if axis.levels is not None and len(axis.levels) <= GRIDS[0]:
        yield axis.levels
        return
    for count in GRIDS:
        places = [i / (count - 1) for i in range(count)]
        grid = dict.fromkeys(axis.value(place) for place in places)
        yield [value for value in grid if axis.is_step(value)]


def _tried(context: Context) -> Mapping[str, set[Any]]:
    """Every value that an edit of this campaign wrote or replaced, by constant."""
    replies = [reply for t in context.history for reply in (t.reply, *t.turned_down)]
    found: dict[str, set[Any]] = {}
    for reply in (*replies, *context.turned_down):
        for name, value in _written(reply):
            found.setdefault(name, set()).add(value)
    return found


@functools.lru_cache(maxsize=4096)
def _written(reply: str) -> tuple[tuple[str, Any], ...]:
    """Name and value, old and new, of each constant that the reply sets."""
    try:
        blocks = edits.parse(reply).blocks
        sides = [
            ({c.name: c.value for c in constants(text)} for text in (block.search, block.replace))
            for block in blocks
        ]
        return tuple(
            (name, value)
            for old, new in sides
            for name in old.keys() & new.keys()
            for value in (old[name], new[name])
            if old[name] != new[name] and isinstance(value, str | int | float)
        )
    except (edits.EditError, SyntaxError):
        return ()


def _schema(context: Context, offer: Offer) -> str:
    """One alternative for each constant and direction. The pattern fixes the beginning of the
    hypothesis and its characters; without these the model leaves the topic or does not stop."""
    picks = []
    for axis in tunable(context.source, context.category):
        values: dict[str, list[Any]] = {}
        for value in offer.get(axis.name, ()):
            values.setdefault(_direction(axis, value), []).append(value)
        for direction, some in values.items():
            why = f"^{direction} {axis.name} should lower the loss because [a-z][a-z ,-]{{20,90}}$"
            properties = {
                "name": {"const": axis.name},
                "value": {"enum": some},
                "hypothesis": {"type": "string", "pattern": why},
            }
            picks.append(
                {
                    "type": "object",
                    "properties": properties,
                    "required": list(properties),
                    "additionalProperties": False,
                }
            )
    return json.dumps({"anyOf": picks})


def _direction(axis: Axis, value: Any) -> str:
    if not axis.is_ordered:
        return "Another"
    return "A higher" if value > axis.champion else "A lower"


# --- what came back ---


def _pick(reply: Reply, offer: Offer) -> Mapping[str, Any] | str:
    """The constant, its value and the hypothesis, or why the reply cannot be used."""
    if reply.stop_reason != "end":
        return f"the reply ended early ({reply.detail or reply.stop_reason})"
    try:
        pick = json.loads(reply.text)
        name, value, hypothesis = pick["name"], pick["value"], pick["hypothesis"]
        i = list(offer[name]).index(value)
    except (ValueError, KeyError, TypeError):
        return "the reply is not a constant, a value and a hypothesis from what was offered"
    if not isinstance(hypothesis, str) or not any(c.isalpha() for c in hypothesis):
        return "the reply has no hypothesis"
    return {"name": name, "value": offer[name][i], "hypothesis": hypothesis}


def _envelope(context: Context, pick: Mapping[str, Any], received: str) -> str:
    """The edit in the usual format, followed by what the model wrote."""
    name, value = pick["name"], pick["value"]
    before = next(c.value for c in constants(context.source) if c.name == name)
    title = f"{name} {format_literal(before)} → {format_literal(value)}"
    blocks = set_constants(context.source, {name: value})
    reply = render(context.category, pick["hypothesis"], blocks, title=title)
    return f"{reply}\nreceived: {json.dumps(json.loads(received))}\n"
