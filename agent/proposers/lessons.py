"""What the trials taught about kinds of edit, as facts that a template puts into words. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.campaign.records import Trial
from agent.edits.blocks import EditError, parse
from agent.judge import FAILURES

MORE = 1.5
"""From this multiple of an even share on, a category is asked for more often than usual."""
EXHAUSTED = 5
"""Trials in a row of which none was kept, or nearly, after which a category is called exhausted."""
_SET = re.compile(r"^([A-Z][A-Z0-9_]*)(?:: [^=\n]+)? = (-?[\d_.]+(?:e-?\d+)?)(?=\s|$)", re.M)


@dataclass(frozen=True)
class Lesson:
    """What came of the trials of one category."""

    category: str
    often: str
    """How the prior asks for it, against an even share: ``more``, ``less`` or ``usual``."""
    tried: int
    kept: int
    gain: float
    """Of all that was kept, bits per byte."""
    near: int
    """Not kept, but with a gain that may be luck."""
    failed: int
    """Crashed, broke a rule or was rejected."""
    dry: int
    """Trials since the last that was kept or near."""

    @property
    def exhausted(self) -> bool:
        return self.dry >= EXHAUSTED


def lessons(history: Sequence[Trial], prior: Mapping[str, float]) -> list[Lesson]:
    """One for each category of ``prior``, what paid most first, what was not tried last."""
    found = []
    for category, share in prior.items():
        own = [t for t in history if t.credited == category and t.status != "unjudged"]
        kept = [trial for trial in own if trial.kept]
        near = [t for t in own if not t.kept and t.differences and (t.gain or 0.0) > 0]
        failed = sum(t.verdict == "rejected" or t.status in FAILURES for t in own)
        last = max((n for n, t in enumerate(own, 1) if t.kept or t in near), default=0)
        gain = sum(trial.gain or 0.0 for trial in kept)
        numbers = len(own), len(kept), gain, len(near), failed, len(own) - last
        even = share * len(prior)
        often = "more" if even > MORE else "less" if even < 1 / MORE else "usual"
        found.append(Lesson(category, often, *numbers))
    return sorted(found, key=lambda one: (-one.gain, not one.tried))


def one_way(history: Sequence[Trial], category: str) -> dict[str, str]:
    """Constants that trials of a category moved in one direction only, ``up`` or ``down``, and none
    of them was kept: the other direction is untried."""
    moves: dict[str, set[str]] = {}
    for trial in history:
        if trial.credited == category and trial.status in ("ok", "abandoned"):
            for name, way in _moves(trial.reply):
                moves.setdefault(name, set()).update({way, "kept"} if trial.kept else {way})
    return {name: next(iter(ways)) for name, ways in moves.items() if len(ways) == 1}


@functools.lru_cache(maxsize=1024)  # of each trial in each later prompt
def _moves(reply: str) -> tuple[tuple[str, str], ...]:
    try:
        blocks = parse(reply).blocks
    except EditError:  # a whole file, of which only the trial's diff says what it changed
        return ()
    sides = [(dict(_SET.findall(b.search)), dict(_SET.findall(b.replace))) for b in blocks]
    return tuple(
        (name, "up" if float(new[name]) > float(old[name]) else "down")
        for old, new in sides
        for name in old
        if name in new and float(new[name]) != float(old[name])
    )
