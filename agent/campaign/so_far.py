"""What is asked of all trials so far again and again, counted on with each verdict.

Once a trial has its verdict nothing of what is counted here changes. So a campaign's twenty
thousandth trial costs what its hundredth does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from agent.campaign.records import Trial

T = TypeVar("T")


class SoFar:
    """Of one list of trials: those with a verdict, and what was counted of the first ones."""

    def __init__(self, of: list[Trial]) -> None:
        self.of = of
        """The list; another one is begun anew."""
        self._found: dict[Hashable, tuple[int, Any]] = {}
        self._now: tuple[int, dict[Hashable, Any]] = 0, {}
        self.forget()

    def forget(self) -> None:
        """A finished trial has changed, though in nothing that is counted."""
        self.finished: list[Trial] = []
        self.real: list[Trial] = []
        self.kept: list[Trial] = []

    def after(self, ended: Sequence[int]) -> SoFar:
        """With the lists as of these verdicts; a list that somebody has stays as it is."""
        if len(self.finished) > len(ended):
            return SoFar(self.of).after(ended)
        if new := [self.of[number] for number in ended[len(self.finished) :]]:
            self.finished = [*self.finished, *new]
            self.real = [*self.real, *(tried := [one for one in new if not one.is_null])]
            self.kept = [*self.kept, *(one for one in tried if one.kept)]
        return self

    def count(
        self, name: Hashable, trials: Sequence[Trial], start: T, step: Callable[[T, Trial], T]
    ) -> T:
        """``step`` by ``step`` from ``start`` over ``trials``, which begin with those of the last
        time that ``name`` was asked for."""
        found: T
        done, found = self._found.get(name, (0, start))
        if done > len(trials):
            done, found = 0, start
        for trial in trials[done:]:
            found = step(found, trial)
        self._found[name] = len(trials), found
        return found

    def latest(
        self,
        name: Hashable,
        trials: Sequence[Trial],
        serves: Callable[[Trial], bool],
        most: int | None,
        of: Callable[[Trial], Any] = lambda trial: trial,
    ) -> Sequence[Any]:
        """Of the last of ``trials`` that serve, what ``of`` makes of them, oldest first."""

        def step(found: deque[Any], trial: Trial) -> deque[Any]:
            if serves(trial):
                found.append(of(trial))
            return found

        return self.count(name, trials, deque[Any](maxlen=most), step)

    def now(self, name: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once until the next verdict."""
        if self._now[0] != len(self.finished):
            self._now = len(self.finished), {}
        found: dict[Hashable, T] = self._now[1]
        if name not in found:
            found[name] = make()
        return found[name]

    @property
    def nulls(self) -> list[Trial]:
        """The null trials that were judged."""

        def serves(trial: Trial) -> bool:
            return trial.is_null and trial.status != "unjudged"

        return list(self.latest("nulls", self.finished, serves, None))

    @property
    def counts(self) -> dict[str, int]:
        """How many real trials after the baseline have each verdict."""

        def step(counts: dict[str, int], trial: Trial) -> dict[str, int]:
            own = trial.verdict if trial.trial > 0 else None
            return {**counts, own: counts[own] + 1} if own is not None else counts

        start: dict[str, int] = dict.fromkeys(("keep", "revert", "rejected"), 0)
        found: dict[str, int] = self.count("verdicts", self.real, start, step)
        return dict(found)
