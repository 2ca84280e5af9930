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


class Memory:
    """Offers edits that earlier trials lead to; all that it knows is in the journal."""

    name = "memory"
    attempts = 3
    """Each is another idea."""

    def __init__(self) -> None:
        self._found: tuple[object, Sequence[Idea]] = None, ()

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        return self._next(context) is not None

    def propose(self, context: Context) -> Proposal:
        if (found := self._next(context)) is None:
            raise NothingToPropose(f"no earlier trial leads to an edit in {context.category}")
        idea, reply = found
        data = {"how": idea.how, "of": [*idea.of]}
        return Proposal(self.name, reply, trial_record(context), data=data)

    def _next(self, context: Context) -> tuple[Idea, str] | None:
        """The first for the category that was not turned down on this champion, and its reply."""
        since = itertools.takewhile(lambda trial: not trial.kept, reversed(context.history))
        refused = {*context.turned_down, *(reply for t in since for reply in t.turned_down)}
        refused |= {trial.reply for trial in context.pending}
        own = (idea for idea in self._ideas(context) if idea.category == context.category)
        written = ((idea, _reply(idea, context.source)) for idea in own)
        return next((one for one in written if one[1] and one[1] not in refused), None)

    def _ideas(self, context: Context) -> Sequence[Idea]:
        """All, found once for each trial: they are asked for of each category."""
        program = context.program
        key = len(context.history), context.source, program.objective, program.described
        if self._found[0] != key:
            self._found = key, [*combine(context), *comebacks(context)]
        return self._found[1]


@functools.lru_cache(maxsize=256)  # of each idea for each later trial of a champion
def _reply(idea: Idea, champion: str) -> str:
    """What makes an idea's file of the champion's; "" if that cannot be written as blocks."""
    return as_reply(idea.head, champion, idea.source, category=idea.category, rules="")
