"""Which edits are not tried again, by what they change; see ``edits.changes`` for hunks.

An edit that gives the same file as a past edit is not tried again, nor is an edit with:

- the same hunks as a trial that failed or that lost significantly (the 95 % interval of its gain
  ends below 0). The champion may be another one, but it is the same at this place;
- all hunks of a trial that lost significantly, and others, if that trial changed code. The others
  can be tried without the lost ones. Numbers may be combined freely, since two of them often help
  only together; so may the hunks of a failed trial, since the new ones may fix it.

An edit whose result was within noise may be tried again on another champion. An edit that was never
judged may be tried again at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.campaign.compared import finding
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.edits.checks import Rejected
from agent.objective import key_of

Hunks = tuple[str, ...]


class Lost:
    """The trials that forbid another try of what they changed, by what that is."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._count = 0
        self._whole: dict[Hunks, tuple[int, Trial]] = {}
        self._parts: dict[str, list[tuple[int, Trial]]] = {}
        """Of trials that lost with code: by the first of their hunks of code."""
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> Lost:
        """One more, later than all before."""
        self._count += 1
        if trial.verdict != "revert" or trial.status == "unjudged" or not trial.hunks:
            return self
        failed, lost = trial.status not in ("ok", "abandoned"), finding(trial) == "lost"
        if failed or lost:
            self._whole[tuple(sorted(trial.hunks))] = self._count, trial
        code = next((hunk for hunk in trial.hunks if hunk.startswith("code:")), None)
        if lost and code is not None:
            self._parts.setdefault(code, []).append((self._count, trial))
        return self

    def before(self, changes: Sequence[str]) -> Trial | None:
        """The latest trial that forbids another try of ``changes``, None if there is none."""
        proposed = Counter(changes)
        found = [(0, None), self._whole.get(tuple(sorted(changes)), (0, None))]
        for hunk in proposed:
            found += [one for one in self._parts.get(hunk, ()) if Counter(one[1].hunks) <= proposed]
        return max(found, key=lambda one: one[0])[1]


def lost_in(state: State, objective: Mapping[str, Any]) -> Lost:
    """Of a campaign, by what an objective can tell."""

    def step(lost: Lost, trial: Trial) -> Lost:
        return lost.add(trial) if trial.holds_by(objective) else lost

    return state.so_far.count(("lost", key_of(objective)), state.real, Lost(), step)


def tried_in(state: State, objective: Mapping[str, Any]) -> set[str]:
    """Fingerprints of the programs that finished trials have trained, which nobody may change."""

    def step(tried: set[str], trial: Trial) -> set[str]:
        tried.update(trial.tried if trial.holds_by(objective) else ())
        return tried

    return state.so_far.count(("tried", key_of(objective)), state.finished, set(), step)


@dataclass(frozen=True)
class TriedWith(Container[str]):
    """Fingerprints of ``tried_in``, and those of the programs of trials under way."""

    state: State
    objective: Mapping[str, Any]
    but: int | None = None
    """Number of a trial under way that is left out."""

    def __contains__(self, digest: object) -> bool:
        return digest in tried_in(self.state, self.objective) or any(
            digest in trial.tried and trial.holds_by(self.objective)
            for trial in self.state.open_trials
            if trial.trial != self.but
        )


def refuse_repeat(changes: Sequence[str], known: Lost) -> None:
    """
    Raises:
        Rejected: these hunks were tried, and failed or lost.
    """
    if past := known.before(changes):
        how = "lost by more than luck explains" if past.status == "ok" else f"was {past.status}"
        raise Rejected(
            f"already reverted: all that trial {past.trial} changed comes back as it was "
            f"({past.title}), and it {how}; leave it out, or change what it does"
        )


def lost_before(changes: Sequence[str], trials: Sequence[Trial]) -> Trial | None:
    """The latest of ``trials`` that forbids another try of ``changes``, None if there is none."""
    return Lost(trials).before(changes)
