"""The proposer that remembers: it offers what its mechanisms find, in one order."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from agent.edits.edited import as_reply
from agent.proposers.base import Context, NothingToPropose, Proposal
from agent.proposers.memory.combine import combine
from agent.proposers.memory.comebacks import comebacks
from agent.proposers.memory.idea import Idea
from agent.proposers.prompts import trial_record

Offer = tuple[Idea, str]
"""An idea, and its reply for the champion of now."""


class Memory:
    """Offers edits that earlier trials lead to; all that it knows is in the journal."""

    name = "memory"
    attempts = 3
    """Each is another idea."""

    def __init__(self) -> None:
        self._found: tuple[object, Sequence[Offer]] = None, ()

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        return bool(self._left(context))

    def propose(self, context: Context) -> Proposal:
        left = self._left(context)
        if not left:
            raise NothingToPropose(f"no earlier trial leads to an edit in {context.category}")
        idea, reply = left[0]
        data = {"how": idea.how, "of": [*idea.of]}
        return Proposal(self.name, reply, trial_record(context), data=data)

    def _left(self, context: Context) -> list[Offer]:
        """What there is for the category and was not turned down on this champion."""
        since = itertools.takewhile(lambda trial: not trial.kept, reversed(context.history))
        refused = {*context.turned_down, *(reply for t in since for reply in t.turned_down)}
        offers = self._offers(context)
        return [o for o in offers if o[0].category == context.category and o[1] not in refused]

    def _offers(self, context: Context) -> Sequence[Offer]:
        """All, found once for each trial: they are asked for of each category."""
        objective = tuple(sorted(context.program.objective.recorded().items()))
        key = len(context.history), context.source, objective
        if self._found[0] != key:
            ideas = [*combine(context), *comebacks(context)]
            written = [(idea, _reply(idea, context.source)) for idea in ideas]
            self._found = key, [offer for offer in written if offer[1]]
        return self._found[1]


@functools.lru_cache(maxsize=256)  # of each idea for each later trial of a champion
def _reply(idea: Idea, champion: str) -> str:
    """What makes an idea's file of the champion's; "" if that cannot be written as blocks."""
    return as_reply(idea.head, champion, idea.source, category=idea.category, rules="")
