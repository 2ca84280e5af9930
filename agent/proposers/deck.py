"""Structural edits without a model: hand-written recipes, one file each, in the format of a reply.

A recipe is trained once in a campaign. A reverted recipe is not tried on a later champion either:
repeated tests of an edit that lost are the surest way to keep one by luck. By another objective it
may win, and is tried again. A recipe that was rejected before training may be tried on the next
champion, because it was never measured.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.edits import blocks
from agent.proposers.base import Context, NothingToPropose, Proposal, rejected
from agent.proposers.prompts import trial_record

RECIPES = Path(__file__).parent / "recipes"
TARGET = RECIPES / "target"
"""Those that end a training early, for a champion that is better than it has to be."""


@dataclass(frozen=True)
class Recipe:
    """One edit of the shipped train.py, or of the plain start where the name ends in ``-plain``."""

    name: str
    reply: str
    edit: blocks.Edit

    def applies(self, source: str) -> bool:
        """Whether every block still matches the source and the result is Python."""
        return _applies(self.edit, source)


@functools.lru_cache(maxsize=256)  # asked for every category of every trial, of few champions
def _applies(edit: blocks.Edit, source: str) -> bool:
    try:
        compile(edit.apply(source), "train.py", "exec", dont_inherit=True)
    except (blocks.EditError, SyntaxError):
        return False
    return True


@functools.cache
def recipes(folder: Path = RECIPES) -> tuple[Recipe, ...]:
    """All recipes by name.

    Raises:
        EditError: a file is not a reply.
    """
    replies = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return tuple(Recipe(name, text, blocks.parse(text)) for name, text in sorted(replies.items()))


def at_target(context: Context) -> bool:
    """Whether the objective has a target, and the champion reaches it: only then time pays."""
    target = context.program.objective.target
    champion = next((trial for trial in reversed(context.history) if trial.kept), None)
    score = champion.val_bpb if champion is not None else None
    return target is not None and score is not None and score <= target


class Deck:
    """Offers the recipes of a category, in an order drawn once per campaign."""

    name = "deck"
    attempts = 3
    """Each attempt is another recipe, because a kept edit may have made one fail its check."""

    def __init__(self, folder: Path = RECIPES) -> None:
        self._folder = folder

    def choices(self, context: Context) -> int:
        """It is told which."""
        return 1

    def covers(self, context: Context) -> bool:
        return bool(self._left(context))

    def propose(self, context: Context) -> Proposal:
        left = self._left(context)
        if not left:
            raise NothingToPropose(f"no recipe for {context.category} is left")
        return Proposal(self.name, left[0].reply, trial_record(context))

    def _left(self, context: Context) -> Sequence[Recipe]:
        """Untried recipes that apply to the champion, in the order in which they are offered.

        The history does not say which recipe a rejected trial offered. But the order is fixed and
        rejected recipes stay untried, so until the champion changes they are the first ones.
        """
        by = context.program.objective.recorded()
        tried = {trial.title for trial in context.history if trial.kept or trial.holds_by(by)}
        known = [*recipes(self._folder), *(recipes(TARGET) if at_target(context) else ())]
        order = [r for r in known if r.edit.category == context.category]
        random.Random(f"deck:{context.seed}:{context.category}").shuffle(order)
        open_ones = [r for r in order if r.edit.title not in tried and r.applies(context.source)]
        under_way = {trial.reply for trial in context.pending}
        if not under_way:
            return open_ones[rejected(context, self.name) :]
        since = itertools.takewhile(lambda trial: not trial.kept, reversed(context.history))
        refused = {*context.turned_down, *(reply for t in since for reply in t.turned_down)}
        return [r for r in open_ones if r.reply not in under_way | refused]
