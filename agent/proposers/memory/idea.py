"""What the mechanisms of memory share: an idea, and what the history says of a trial."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.campaign.compared import finding
from agent.campaign.records import Trial
from agent.campaign.repeats import lost_before
from agent.edits.blocks import HYPOTHESIS_LENGTH, TITLE_LENGTH, Edit, EditError, parse
from agent.edits.ideas import as_blocks
from agent.proposers.base import Context
from agent.proposers.lessons import by_todays_name
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
    """The trials whose gains are told by the objective in force, oldest first, each under the name
    that its category has now."""
    by, program = context.program.objective.recorded(), context.program
    told = (trial for trial in context.history if trial.holds_by(by))
    return by_todays_name(told, program.described)


def champion(context: Context) -> Trial:
    """The trial that was kept last."""
    return next(trial for trial in reversed(context.history) if trial.kept)


def kept_since(trial: Trial, history: Iterable[Trial]) -> list[Trial]:
    """What was kept after the champion that a trial has met."""
    kept = [other for other in history if other.kept and other.trial != trial.trial]
    met = [number for number, other in enumerate(kept) if other.commit == trial.parent != ""]
    return kept[met[0] + 1 :] if met else [o for o in kept if o.trial > trial.trial]


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


def roots(trial: Trial, history: Sequence[Trial]) -> set[int]:
    """The trials from which memory has made its edit, in however many steps; else itself."""
    of = trial.data.get("of")
    found = (roots(other, history) for other in history if other.trial in of) if of else ()
    return set().union(*found) or {trial.trial}


def is_over(trial: Trial, history: Sequence[Trial]) -> bool:
    """Whether its edit was tried again since, is in the champion in part or as a part of another,
    or would be refused for what was tried since."""
    own, hunks, title = roots(trial, history), sorted(trial.hunks), trial.title.casefold()
    return any(
        (hunks and sorted(other.hunks) == hunks)
        or (title and other.title.casefold() == title)
        or (other.kept and own & roots(other, history))
        for other in history
        if other.trial > trial.trial and other.candidate and other.status != "unjudged"
    ) or bool(lost_before(trial.hunks, history))


def edited(trial: Trial, source: str, context: Context) -> str | None:
    """``source`` with the edit of a trial; None where it does not fit any more."""
    try:
        base = context.sources(trial.parent) if trial.envelope == "file" else ""
        edit = _blocks(trial.reply, base)
        # What is inserted beside lines that stay would go in a second time.
        if any(one.search in one.replace and one.replace in source for one in edit.blocks):
            return None
        return edit.apply(source)
    except EditError:
        return None


@functools.lru_cache(maxsize=1024)  # of each near miss, asked for again for each later trial
def _blocks(reply: str, base: str) -> Edit:
    """A reply's edit; of one that is a whole file what it changes in ``base``.

    Raises:
        EditError: it cannot be read.
    """
    return parse(as_blocks(reply, base) if base else reply)


def numbers(trials: Iterable[int]) -> str:
    """Of trials, in words."""
    found = [str(number) for number in trials]
    return f"trial{'s' if len(found) > 1 else ''} {', '.join(found)}"
