"""What a model is told of the trials, as facts that a template puts into words. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.campaign import compared
from agent.campaign.records import Trial
from agent.edits.blocks import HYPOTHESIS_LENGTH, EditError, parse
from trainer.untrusted import one_line

MORE = 1.5
"""From this multiple of an even share on, a category is asked for more often than usual."""
EXHAUSTED = 5
"""Measured trials in a row of which none was kept, or nearly, after which a category is called
exhausted. What was rejected or crashed says nothing of the idea."""
SAME_PACE = 0.005
"""Steps and tokens that differ by a smaller share are not told."""
_NUMBER = r"-?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SET = re.compile(rf"^([A-Z][A-Z0-9_]*)(?:: [^=\n]+)? = ({_NUMBER})(?=\s|$)", re.M)

ShownOutcome = Literal[
    "baseline", "kept", "near", "inconclusive", "lost", "abandoned", "failed", "rejected"
]


@dataclass(frozen=True)
class View:
    """A trial as it is shown to the model; its texts are one printable line each."""

    trial: Trial
    outcome: ShownOutcome
    gain: float
    """In bits per byte, to two digits, so that the search does not overfit the validation text."""
    half: float
    """Half-width of its 95 % interval."""
    title: str
    hypothesis: str
    sign: str
    reason: str
    curve: tuple[float | None, ...]
    """See ``compared.curve``."""
    pace: tuple[float, float] | None
    """See ``compared.pace``; None if it is the champion's."""

    @property
    def finding(self) -> str:
        """See ``compared.finding``."""
        return compared.finding(self.trial)


def view(trial: Trial) -> View:
    """What the model is shown of a finished trial."""
    outcome, reason = _outcome(trial)
    pace = compared.pace(trial)
    if pace is not None and max(abs(ratio - 1) for ratio in pace) < SAME_PACE:
        pace = None
    return View(
        trial=trial,
        outcome=outcome,
        gain=_two_digits(trial.gain),
        half=_two_digits(trial.gain_half),
        title=one_line(trial.title),
        hypothesis=one_line(trial.hypothesis, HYPOTHESIS_LENGTH),
        sign=one_line(trial.sign),
        reason=one_line(reason),
        curve=compared.curve(trial),
        pace=pace,
    )


def _outcome(trial: Trial) -> tuple[ShownOutcome, str]:
    """How it ended, and why if it was not measured to its end."""
    if trial.trial == 0:
        return "baseline", ""
    if trial.verdict == "keep":
        return "kept", ""
    if trial.verdict == "rejected":
        reason = trial.rejections[-1] if trial.rejections else trial.words
        return "rejected", reason.partition("\n")[0]
    if trial.status not in ("", "ok"):
        failed = [t.reason for t in trial.of("candidate") if t.status == trial.status]
        last = failed[-1].strip().rpartition("\n")[2] if failed else trial.words
        return "abandoned" if trial.status == "abandoned" else "failed", last
    if _two_digits(trial.gain) > 0 and trial.differences:
        return "near", ""
    return compared.finding(trial) or "inconclusive", ""


def _two_digits(value: float | None) -> float:
    return float(f"{value or 0.0:.2g}")


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
    lost: int
    """Beyond doubt; what is in no other count was inconclusive."""
    failed: int
    """Rejected ones are among them."""
    dry: int
    """Measured since the last that was kept or near."""

    @property
    def exhausted(self) -> bool:
        return self.dry >= EXHAUSTED


def by_todays_name(history: Iterable[Trial], described: Mapping[str, str]) -> list[Trial]:
    """The trials, each under the name that its category has now; see ``Trial.name_today``."""
    named = [(trial, trial.name_today(trial.credited, described)) for trial in history]
    return [t if name == t.credited else replace(t, shows=name) for t, name in named]


def lessons(history: Sequence[Trial], prior: Mapping[str, float]) -> list[Lesson]:
    """One for each category of ``prior``, what paid most first, what was not tried last."""
    found, judged = [], [view(trial) for trial in history if trial.status != "unjudged"]
    for category, share in prior.items():
        own = [shown for shown in judged if shown.trial.credited == category]
        ends = [shown.outcome for shown in own]
        measured = [end for end in reversed(ends) if end not in ("failed", "rejected")]
        last = [n for n, end in enumerate(measured) if end in ("kept", "near")]
        gain = sum(shown.gain for shown in own if shown.outcome == "kept")
        failed = ends.count("failed") + ends.count("rejected")
        even = share * len(prior)
        often = "more" if even > MORE else "less" if even < 1 / MORE else "usual"
        dry = last[0] if last else len(measured)
        kept, near = ends.count("kept"), ends.count("near")
        lost = sum(shown.finding == "lost" for shown in own)
        found.append(Lesson(category, often, len(own), kept, gain, near, lost, failed, dry))
    return sorted(found, key=lambda one: (-one.gain, not one.tried))


def one_way(history: Sequence[Trial], category: str, source: str) -> dict[str, str]:
    """Constants of ``source`` that trials of a category moved in one direction only, ``up`` or
    ``down``, and none of them was kept: the other direction is untried."""
    there = dict(_SET.findall(source))
    moves: dict[str, set[str]] = {}
    for trial in history:
        if trial.credited == category and trial.status in ("ok", "abandoned"):
            for name, way in _moves(trial.reply):
                moves.setdefault(name, set()).update({way, "kept"} if trial.kept else {way})
    return {
        name: next(iter(ways)) for name, ways in moves.items() if len(ways) == 1 and name in there
    }


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
