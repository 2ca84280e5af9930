"""Ideas that nearly paid, and may pay now that the champion has moved. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.campaign.records import Trial
from agent.proposers.lessons import View, view
from agent.proposers.memory.idea import is_over, kept_since

MOST = 5
"""In a prompt."""


@dataclass(frozen=True)
class NearMiss:
    """A trial that measured better, but not beyond luck, on a champion that is no more."""

    shown: View
    since: tuple[int, ...]
    """The trials that were kept since; the history shows them."""

    @property
    def strength(self) -> float:
        """Its difference in standard errors; of journals that do not say these, about that."""
        gain, error = self.shown.trial.difference or (self.shown.gain, self.shown.half / 2)
        return gain / max(error, 1e-9)


def near_misses(
    comparable: Sequence[Trial], history: Sequence[Trial], drawn: Collection[str]
) -> list[NearMiss]:
    """Those to offer again, the strongest first, but those of the drawn categories before others.

    Args:
        comparable: the trials whose gains are told, by today's names; a part of ``history``.
    """
    found = []
    for shown in map(view, comparable):
        since = tuple(trial.trial for trial in kept_since(shown.trial, history))
        if shown.outcome == "near" and since:
            found.append(NearMiss(shown, since))
    found.sort(key=lambda one: (one.shown.trial.credited not in drawn, -one.strength))
    left = (miss for miss in found if not is_over(miss.shown.trial, history))
    return list(itertools.islice(left, MOST))
