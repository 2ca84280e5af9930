"""Campaigns that judge up to so many candidates in one heat, on luck that was recorded.

The rule is the campaigns' own: ``agent.judge``, its levels, and ``agent.forecast`` ends what is
hopeless. Device time is counted in trainings: a champion's is paid once a heat, however many
candidates run beside it, and up to the last of them; a candidate's up to where it was ended. A keep
makes a new champion: what was under way is judged from the start against it, and its edit is worth
as much there. At most one is kept of one heat. Null trials, audits and failures are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.forecast import CHECKPOINTS, PARTS, RUNS_ON, forecast, is_hopeless, so_far
from agent.judge import Judge, trial_level
from benchmarks import landed_judge
from benchmarks.throughput.recorded import Ground, Known, Losses, Luck

Levels = Literal["of the finished", "of all before"]
"""What a trial's level is computed from: the trials that had their verdict before it, or all that
were begun before it, of which those under way count as passed and not kept."""
Run = tuple[float, float | None]
"""Of a candidate in a heat: the share of its training that it took, and the difference; None if it
was ended as hopeless, or failed."""
FLAT = (0.0,) * PARTS


@dataclass(frozen=True)
class Outcome:
    edit: Known
    kept: bool
    heats: int


@dataclass
class Lane:
    """A trial under way."""

    number: int
    edit: Known
    runs_on: bool
    differences: list[float] = field(default_factory=list)
    heats: int = 0
    quarantined: bool = False


class Campaign(Protocol):
    """A rule at work: trials end one after the other, and what they took is counted."""

    trainings: float
    """Device time so far, in trainings, without scoring."""
    scored: int
    """How many of them were scored."""

    def outcomes(self) -> Iterator[Outcome]: ...


class Heats:
    """Today's rule, with ``width`` candidates a heat."""

    def __init__(
        self,
        ground: Ground,
        propose: Callable[[random.Random], Known],
        trials: int,
        seed: str,
        *,
        width: int,
        levels: Levels = "of all before",
        anew: bool = True,
    ) -> None:
        """
        Args:
            trials: so many are begun and brought to their end: the last heats are narrower.
            anew: whether a keep makes what was under way be judged from the start; else its heats
                against the older champion count, as they may where edits do not touch each other.
        """
        self.trainings, self.scored = 0.0, 0
        self._ground, self._propose, self._trials = ground, propose, trials
        self._width, self._levels, self._anew = width, levels, anew
        self._dice = random.Random(seed)
        self._judges = {kind: Judge("confirm", known) for kind, known in ground.noise.items()}
        self.noise = ground.noise
        self._past: dict[int, tuple[bool, bool]] = {}
        self._lanes: list[Lane] = []
        self._begun = 0

    def outcomes(self) -> Iterator[Outcome]:
        for ended in self.heats():
            yield from ended

    def heats(self) -> Iterator[list[Outcome]]:
        """Of each heat, the trials that end with it."""
        while self._lanes or self._begun < self._trials:
            while len(self._lanes) < self._width and self._begun < self._trials:
                runs_on = self._dice.random() < 1 / RUNS_ON
                self._lanes.append(Lane(self._begun, self._propose(self._dice), runs_on))
                self._begun += 1
            yield self._heat()

    def _heat(self) -> list[Outcome]:
        for lane in self._lanes:
            lane.heats += 1
        runs = self._train(self._lanes)
        shares = [share for share, _ in runs]
        self.trainings += max(shares) + sum(shares)  # the champion goes on for the last of them
        scored = sum(difference is not None for _, difference in runs)
        self.scored += scored + (scored > 0)
        ended: list[tuple[Lane, bool]] = []
        for lane, (_, difference) in zip(list(self._lanes), runs, strict=True):
            verdict = "revert" if difference is None else self._judge(lane, difference)
            if verdict == "keep" and any(kept for _, kept in ended):
                continue  # the runner-up, which is tried again
            if verdict != "heat":
                ended.append((lane, verdict == "keep"))
        for lane, kept in ended:
            self._lanes.remove(lane)
            self._past[lane.number] = (lane.heats > 1 or kept, kept)
        if self._anew and any(kept for _, kept in ended):
            for lane in self._lanes:  # carried over to the new champion
                lane.differences, lane.quarantined = [], False
        return [Outcome(lane.edit, kept, lane.heats) for lane, kept in ended]

    def _train(self, lanes: Sequence[Lane]) -> list[Run]:
        """One heat of these trials."""
        lucks = self._ground.draw([lane.edit.kind for lane in lanes], self._dice)
        return [self._run(lane, luck) for lane, luck in zip(lanes, lucks, strict=True)]

    def _run(self, lane: Lane, luck: Luck) -> Run:
        course = tuple(
            None if a is None or b is None else -a - b
            for a, b in zip(lane.edit.course, luck.course, strict=True)
        )
        for parts in CHECKPOINTS:
            if self.is_hopeless(lane, FLAT, course, parts):
                return parts / PARTS, None
        return 1.0, lane.edit.gain + luck.difference

    def is_hopeless(self, lane: Lane, champion: Losses, own: Losses, parts: int) -> bool:
        """As ``steps.watch`` asks it, after so many twentieths."""
        judge, doubt = self._judges[lane.edit.kind], self._ground.doubt(lane.edit.category)
        difference = so_far(champion, own, parts)
        if doubt is None or lane.runs_on or difference is None:
            return False
        told = forecast(difference, parts, judge.noise.scale, doubt)
        return is_hopeless(judge, lane.differences, told, size_delta=0, level=self._level(lane))

    def _judge(self, lane: Lane, difference: float) -> str:
        judge = self._judges[lane.edit.kind]
        if judge.too_good(difference, 0.0) and not lane.quarantined:
            lane.quarantined = True  # it is trained again
        else:
            lane.differences.append(difference)
        return judge.verdict(lane.differences, level=self._level(lane))

    def _level(self, lane: Lane) -> float | None:
        if self._levels == "of the finished":
            return trial_level("confirm", self._past.values())
        past = {n: told for n, told in self._past.items() if n < lane.number}
        past |= {o.number: (True, False) for o in self._lanes if o.number < lane.number}
        return trial_level("confirm", (past[n] for n in sorted(past)))


class Landed:
    """The rule before heats: one training screens a candidate, then it and the champion are trained
    in turn; scores are compared, each of a heat of its own."""

    def __init__(
        self, ground: Ground, propose: Callable[[random.Random], Known], trials: int, seed: str
    ) -> None:
        self.trainings, self.scored = 0.0, 0
        self._ground, self._propose, self._dice = ground, propose, random.Random(seed)
        self._trials = trials
        self._judge = landed_judge.Judge("confirm", *ground.sigma)
        self._champion: list[float] = []
        self._since = 0

    def outcomes(self) -> Iterator[Outcome]:
        for _ in range(self._trials):
            edit, own, again = self._propose(self._dice), list[float](), False
            if not self._champion:
                self._train_champion()
            while True:
                young = len(self._champion) < landed_judge.CHAMPION_SEEDS
                answer = "champion" if young and own and not again else self._verdict(own)
                if answer in ("keep", "revert"):
                    break
                if answer == "champion":
                    again = True
                    self._train_champion()
                else:
                    self.trainings, self.scored = self.trainings + 1, self.scored + 1
                    (luck,) = self._ground.draw([edit.kind], self._dice)
                    own.append(luck.score - edit.gain)
            kept = answer == "keep"
            self._since = 0 if kept else self._since + 1
            if kept:
                self._champion = []
            yield Outcome(edit, kept, len(own))

    def _train_champion(self) -> None:
        self.trainings, self.scored = self.trainings + 1, self.scored + 1
        self._champion.append(self._dice.choice(self._ground.companies).champion)

    def _verdict(self, own: list[float]) -> str:
        return self._judge.verdict(self._champion, own, trials_since_keep=self._since)
