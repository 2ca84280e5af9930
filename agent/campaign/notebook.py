"""The campaign's notebook: what its model has learnt, in its own words. Pure.

The model writes it from the verdicts, and the run stores it as ``notebook.md`` in the campaign's
folder. A person may edit that file at any time: the next prompts hold what stands in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.campaign.happened import Happened, Usage

HEADINGS = ("What was learnt", "What to combine", "What is exhausted")
"""Of its three parts, in this order."""
KEEPS, TRIALS = 3, 15
"""It is written anew after so many keeps, or after so many trials without one."""
CHARACTERS = 2_500
"""Of what a model writes; it is cut there."""
MOST_CHARACTERS = 6_000
"""Of what a person writes, which is never cut."""


class NotebookAnswered(Happened):
    """A model was asked to write the notebook anew."""

    event: Literal["notebook"] = "notebook"
    text: str = ""
    """What it wrote; "" if it wrote nothing that can be used, and the old text stays."""
    reason: str = ""
    """Why it cannot be used."""
    again: bool = False
    """Whether the model is asked again before the next trial: it did not answer, at no cost."""
    model: str = ""
    """As its server names it; "" if it did not answer."""
    usage: Usage | None = None
    cost_usd: float | None = None
    lost: bool = False
    """Whether a reply was lost after it had begun to come, so that it is counted at its most."""


class NotebookRead(Happened):
    """The notebook's file holds another text than before: a person's, or what was written."""

    event: Literal["notebook_read"] = "notebook_read"
    text: str


@dataclass(frozen=True)
class Notebook:
    """The notebook after the events seen so far."""

    text: str = ""
    """What prompts hold."""
    in_file: str = ""
    """What the file was last known to hold. It is not ``text`` if a kill came before it was
    written."""
    written: str = ""
    """What the model wrote last, so that it can be told what a person has changed."""
    asked_at: int = 1
    """How many trials, the baseline among them, had a verdict when the model was last asked."""

    def answered(self, event: NotebookAnswered, finished: int) -> Notebook:
        """After the model was asked, when so many trials had a verdict."""
        asked_at = self.asked_at if event.again else finished
        if not event.text:
            return replace(self, asked_at=asked_at)
        return replace(self, text=event.text, written=event.text, asked_at=asked_at)

    def read(self, text: str) -> Notebook:
        """After the file was read, or written."""
        return replace(self, text=text, in_file=text)


def is_due(kept: Sequence[bool]) -> bool:
    """Whether the notebook is to be written anew.

    Args:
        kept: for each trial since the model was last asked, whether it was kept.
    """
    dry = sum(1 for _ in itertools.takewhile(lambda one: not one, reversed(kept)))
    return sum(kept) >= KEEPS or dry >= TRIALS
