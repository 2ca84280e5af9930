"""The prior itself, and the one before it, as arms: over many campaigns by their own code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.learner import FEATURES, RISE, Learner, Rule
from benchmarks.landed_prior import LandedPrior
from benchmarks.prior.arms import Arm
from benchmarks.prior.families import Array, Outcome

NOTHING = (0.0,) * len(FEATURES)


class Ours(Arm):
    """``agent.prior``'s Learner as campaigns use it. ``weights`` all zero: without context."""

    rise = RISE

    def start(
        self, steps: float = 100, weights: Sequence[float] | Array = NOTHING, **rule: float
    ) -> None:
        self.steps = steps
        self.learner = Learner(self.categories, (self.count,), weights, Rule(**rule))

    def choose(self, available: Array) -> Array:
        self.learner.spent = np.full(self.count, min(1.0, self.now / self.steps))
        return self.draw(self.learner.policy(available)[1], available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        assert self.shares is not None
        self.now += 1
        self.learner.update(
            choice,
            outcome.reward,
            available=self.shares > 0,
            kept=outcome.kept,
            failed=outcome.crashed,
            rise=self.rise,
        )


class Landed(Arm):
    def start(self, step: float, decay: float) -> None:
        self.prior = LandedPrior(self.count, self.categories, step, decay)

    def choose(self, available: Array) -> Array:
        return self.draw(self.prior.probabilities(available), available)

    def learn(self, choice: Array, outcome: Outcome) -> None:
        assert self.shares is not None
        self.prior.update(choice, outcome.reward, self.shares > 0)
