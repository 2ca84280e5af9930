"""Structure without a model: recipes written by hand, one file each, as a model would reply.

A recipe is trained once in a campaign. One that was reverted does not come back on a later champion
either: looking again and again at what lost is the surest way to keep something by luck. One that
was rejected before training may come back on the next champion, for it was never looked at.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.edits import blocks
from agent.proposers.base import Context, NothingToPropose, Proposal
from agent.proposers.prompts import trial_record

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One edit of the shipped train.py."""

    name: str
    reply: str
    edit: blocks.Edit

    def applies(self, source: str) -> bool:
        """Whether every block still finds its place and the result is Python."""
        try:
            compile(self.edit.apply(source), "train.py", "exec", dont_inherit=True)
        except (blocks.EditError, SyntaxError):
            return False
        return True


@functools.cache
def recipes(folder: Path = RECIPES) -> tuple[Recipe, ...]:
    """All recipes by name.

    Raises:
        EditError: a file is not a reply.
    """
    found = []
    for path in sorted(folder.glob("*.md")):
        reply = path.read_text(encoding="utf-8")
        found.append(Recipe(path.stem, reply, blocks.parse(reply)))
    return tuple(found)


class Deck:
    """Offers the recipes of a category, in an order drawn once per campaign."""

    name = "deck"
    attempts = 3
    """Another attempt is another recipe, for a kept edit may have made one fail its check."""

    def __init__(self, folder: Path = RECIPES) -> None:
        self._folder = folder

    def covers(self, context: Context) -> bool:
        return bool(self._left(context))

    def propose(self, context: Context) -> Proposal:
        left = self._left(context)
        if not left:
            raise NothingToPropose(f"no recipe for {context.category} is left")
        return Proposal(self.name, left[0].reply, trial_record(context))

    def _left(self, context: Context) -> Sequence[Recipe]:
        """Untried recipes that apply to the champion, the next first.

        Which recipe a rejected trial offered is not in the history, but the order is fixed and
        rejected recipes stay untried, so as long as the champion stays they are the first ones.
        """
        tried = {trial.title for trial in context.history}
        order = [r for r in recipes(self._folder) if r.edit.category == context.category]
        random.Random(f"deck:{context.seed}:{context.category}").shuffle(order)
        open_ones = [r for r in order if r.edit.title not in tried and r.applies(context.source)]
        return open_ones[_rejected(context) :]


def _rejected(context: Context) -> int:
    """Recipes of the category that were turned down while the present champion stood."""
    since = itertools.takewhile(lambda trial: not trial.kept, reversed(context.history))
    past = [
        len(trial.rejections)
        for trial in since
        if trial.category == context.category and trial.proposer == Deck.name
    ]
    return sum(past) + len(context.feedback)
