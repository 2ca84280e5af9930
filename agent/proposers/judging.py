"""How the judge decides, in the numbers that a model can act on: all from the judge's constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent import judge
from agent.campaign.records import Trial
from agent.judge import Rule


@dataclass(frozen=True)
class Judging:
    """What stays the same for a whole campaign; gains are in multiples of one heat's noise."""

    rule: Rule
    ties: float
    """What all near-ties of the campaign together may cost, bits per byte."""
    fewest: int = judge.LEAST_HEATS
    behind: float = -judge.PASS_SCORE
    ends_at_first: float = 1 - judge.PASS_SHARE
    same_speed: float = judge.SAME_SPEED

    @property
    def most(self) -> int:
        return judge.MAX_HEATS[self.rule]

    @property
    def first_gain(self) -> float:
        return judge.least_gain(self.rule, self.fewest)

    @property
    def last_gain(self) -> float:
        return judge.least_gain(self.rule, self.most)

    @property
    def level_costs(self) -> float:
        """The most that it may cost to be level with the champion in all heats."""
        return judge.Judge(self.rule, judge.Noise(1.0, 1e9)).tie_cost([0.0] * self.most)

    def ties_left(self, history: Iterable[Trial]) -> float:
        """What near-ties may still cost."""
        return max(0.0, self.ties - sum(trial.tie_cost for trial in history))
