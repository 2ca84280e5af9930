"""What a reply settles beside its edit: its category, a follow-up, what has nothing left."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.edits.blocks import EditError, Envelope
from agent.edits.ideas import fields
from trainer.untrusted import one_line

FOLLOW_UPS = 0.2
"""Share of the trials that may follow up another one, so that the draw still leads the search."""
REASON_LENGTH = 200
NO = ("", "-", "no", "none", "n/a")
"""What a model writes into a line that it has no use for."""
_AROUND = r"[\s*`\"']*"
_FOLLOW_UP = re.compile(r"(?:trial)?\s*#?(\d{1,9})\s*,?\s*(?:in the\s+)?(same|opposite)\b", re.I)


@dataclass(frozen=True)
class Choice:
    """What an edit counts for; see ``records.Trial``."""

    category: str
    follows: str = ""


def follow_ups_left(state: State, number: int = -1) -> int:
    """How many follow-ups the trials so far still allow the one with this number, or the last."""
    under_way = [trial for trial in state.open_trials if trial.trial > 0 and not trial.is_null]
    done = state.so_far.count("follow", state.real, 0, lambda n, trial: n + bool(trial.follows))
    used = done + sum(bool(t.follows) for t in under_way if t is not state.trials[number])
    count = len(under_way) + sum(state.counts.values())
    return max(0, math.floor(FOLLOW_UPS * count) - used)


def read_choice(
    reply: str, envelope: Envelope, state: State, described: Mapping[str, str], number: int = -1
) -> Choice:
    """What a reply to trial ``number``, or the last, chooses: one of the categories that were
    drawn, else the first of them, or the category of the trial that it follows up.

    Args:
        described: the categories of now, each with a digest of its description.

    Raises:
        EditError: it follows up what it may not; the message says why.
    """
    trial, said = state.trials[number], fields(reply, envelope)
    if said.get("follow-up", "").lower() in NO:
        return Choice(taken(said, trial, described))
    followed, way = _followed(said["follow-up"], state, trial)
    category = followed.name_today(followed.credited, described)
    if category not in described:
        raise EditError(f"trial {followed.trial} is of no category that there is now")
    return Choice(category, f"trial {followed.trial}, {way}")


def read_exhausted(reply: str, envelope: Envelope, described: Mapping[str, str]) -> dict[str, str]:
    """The category that a whole reply says has nothing left, with the reason; one, or none."""
    name, reason = _named(fields(reply, envelope).get("exhausted", ""), described)
    reason = one_line(reason, REASON_LENGTH)
    return {name: reason} if name and reason else {}


def taken(said: Mapping[str, str], trial: Trial, known: Iterable[str]) -> str:
    """The category of those drawn for ``trial`` that an idea with these fields takes, else the
    first of them."""
    name, _ = _named(said.get("category", ""), {*known, *trial.drawn})
    return name if name in trial.drawn else next(iter(trial.drawn), trial.category)


def _named(text: str, names: Iterable[str]) -> tuple[str, str]:
    """The name that a text begins with, in Markdown or not, and the words after it; "" if none."""
    for name in sorted(names, key=len, reverse=True):
        if found := re.match(
            rf"{_AROUND}{re.escape(name)}(?![\w-]*\w){_AROUND}[-:–—]?{_AROUND}", text, re.I
        ):
            return name, text[found.end() :]
    return "", ""


def _followed(text: str, state: State, own: Trial) -> tuple[Trial, str]:
    """The trial that a follow-up names, and in which direction.

    Raises:
        EditError: there is none, or no follow-up is left.
    """
    drawn = ", ".join(own.drawn) or own.category
    instead = f"leave the line follow-up out and propose an edit in {drawn}"
    if not follow_ups_left(state, own.trial):
        raise EditError(
            f"no follow-up is left now, as at most one trial in {1 / FOLLOW_UPS:.0f} may be one: "
            f"{instead}"
        )
    match = _FOLLOW_UP.match(text)
    if match is None:
        raise EditError(
            f"follow-up: {one_line(text, 60)!r} is not read; write 'follow-up: trial 12, same' or "
            "'follow-up: trial 12, opposite'"
        )
    past = {trial.trial: trial for trial in state.real if trial.trial > 0 and trial.candidate}
    number = int(match[1])
    if number not in past:
        raise EditError(f"there is no trial {number} whose edit was tried: {instead}")
    return past[number], match[2].lower()
