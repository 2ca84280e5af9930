"""What the mechanisms of memory share: an idea, and what the history says of a trial."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.campaign.compared import finding
from agent.campaign.records import Trial
from agent.campaign.repeats import lost_before
from agent.edits.blocks import HYPOTHESIS_LENGTH, TITLE_LENGTH, EditError, parse
from agent.edits.ideas import as_blocks
from agent.proposers.base import Context
from trainer.untrusted import one_line

How = Literal["comeback", "combine"]


@dataclass(frozen=True)
class Idea:
    """An edit of the champion that an earlier trial leads to."""

    how: How
    of: tuple[int, ...]
    """The trials that it comes from."""
    category: str
    title: str
    hypothesis: str
    source: str
    """The whole of the candidate's train.py."""

    @property
    def head(self) -> str:
        """The fields of its reply."""
        return (
            f"category: {self.category}\n"
            f"title: {one_line(self.title, TITLE_LENGTH)}\n"
            f"hypothesis: {one_line(self.hypothesis, HYPOTHESIS_LENGTH)}\n"
        )


def past(context: Context) -> list[Trial]:
    """The trials whose gains are told by the objective in force, oldest first."""
    by = context.program.objective.recorded()
    return [trial for trial in context.history if trial.holds_by(by)]


def champion(context: Context) -> int:
    """Number of the trial that was kept last."""
    return next(trial.trial for trial in reversed(context.history) if trial.kept)


def kept_since(trial: Trial, history: Iterable[Trial]) -> list[Trial]:
    """What was kept after a trial had its verdict."""
    return [other for other in history if other.kept and other.trial > trial.trial]


def strength(trial: Trial) -> float | None:
    """Of a trial that was reverted without being known to lose: its mean difference in standard
    errors. None of any other."""
    if trial.status != "ok" or finding(trial) != "inconclusive" or not trial.differences:
        return None
    gain, error = trial.difference or (trial.gain or 0.0, (trial.gain_half or 0.0) / 2)
    return gain / max(error, 1e-9)


def made_of(history: Iterable[Trial], how: How) -> set[tuple[int, ...]]:
    """From which trials this mechanism has made ideas that were judged."""
    return {
        tuple(trial.data["of"])
        for trial in history
        if trial.data.get("how") == how and trial.candidate and trial.status != "unjudged"
    }


def is_over(trial: Trial, history: Sequence[Trial]) -> bool:
    """Whether its edit was tried again since, is in the champion as a part of another, or would be
    refused for what was tried since."""
    return lost_before(trial.hunks, history) is not None or any(
        (trial.hunks and sorted(other.hunks) == sorted(trial.hunks))
        or (trial.title and other.title.casefold() == trial.title.casefold())
        or (other.kept and trial.trial in other.data.get("of", ()))
        for other in history
        if other.trial > trial.trial and other.candidate and other.status != "unjudged"
    )


def edited(trial: Trial, source: str, context: Context) -> str | None:
    """``source`` with the edit of a trial; None where it does not fit any more."""
    reply = trial.reply
    if trial.envelope == "file":
        reply = as_blocks(reply, context.sources(trial.parent))
    return applied(reply, source)


@functools.lru_cache(maxsize=1024)  # of each near miss for each champion
def applied(reply: str, source: str) -> str | None:
    """``source`` with the blocks of a reply, None if that is no Python or they do not match."""
    try:
        found = parse(reply).apply(source)
        compile(found, "train.py", "exec", dont_inherit=True)
    except (EditError, SyntaxError, ValueError):
        return None
    return found


def numbers(trials: Iterable[int]) -> str:
    """Of trials, in words."""
    found = [str(number) for number in trials]
    return f"trial{'s' if len(found) > 1 else ''} {', '.join(found)}"
