"""Uses one proposer for numbers and another for structure."""

from __future__ import annotations

import random

from agent.proposers.base import Context, NothingToPropose, Proposal, Proposer


class Hybrid:
    """Of each two trials in a row one asks either first; which, is drawn by campaign and pair.

    A few structural edits gain more than any number, but most gain nothing; numbers steadily bring
    small gains. Neither is known to be better for a given file: with equal shares the first hour
    shows both, and a run of a few trials asks a model that it was given.
    """

    name = "hybrid"

    def __init__(self, numbers: Proposer, structure: Proposer, seed: int) -> None:
        self._numbers, self.structure, self._seed = numbers, structure, seed
        self.attempts = structure.attempts

    def choices(self, trial: int) -> int:
        return self._order(trial)[0].choices(trial)

    def covers(self, context: Context) -> bool:
        return self._numbers.covers(context) or self.structure.covers(context)

    def propose(self, context: Context) -> Proposal:
        pair = self._order(context.trial)
        if context.feedback and context.proposer == self.structure.name:
            pair = [self.structure]  # whose idea it is, if it came with an earlier reply
        first = next((proposer for proposer in pair if proposer.covers(context)), None)
        if first is None:
            raise NothingToPropose(f"no proposer has an untried idea for {context.category}")
        return first.propose(context)

    def _order(self, trial: int) -> list[Proposer]:
        """Who is asked first for a trial, and who is if that one has no idea."""
        pair, second = divmod(trial - 1, 2)
        structure_first = random.Random(f"hybrid:{self._seed}:{pair}").random() >= 0.5
        both = [self.structure, self._numbers]
        return both if structure_first != bool(second) else both[::-1]
