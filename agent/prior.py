"""Which kind of edit to try next: a policy over categories that learns from rewards."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

EPSILON = 0.1
"""Share of draws that are uniform, so that every category stays possible."""
STEP = 1.2
"""Step of theta for an advantage of one standard deviation."""
DECAY = 0.8
"""Factor on theta at each update. It is also the entropy bonus: the natural gradient of the entropy
of softmax(theta) is -theta, up to a constant. With STEP it bounds theta at 4.8 advantages."""
ADVANTAGE_LIMIT = 3.0
CAUTION = 5
"""Shrinks a category's advantage as if this many average rewards of it had been seen, too."""
MEMORY = 20
"""Window of a running mean, in rewards; short enough to follow changes in what works."""
REWARD_SD, LEAST_SD = 0.2, 0.01
"""Prior standard deviation of rewards, which counts for 10 rewards, and its lower bound."""
OUTLIER = 10.0
"""Rewards are clipped at this many standard deviations from the baseline."""


@dataclass
class _Record:
    theta: float = 0.0
    mean: float = 0.0
    count: int = 0


class Prior:
    """``(1 - eps) softmax(theta) + eps / K``, learnt by natural policy gradient with a baseline.

    A category's advantage is the running mean of its rewards minus the baseline, in units of the
    rewards' standard deviation (so their scale does not matter), shrunk while few are seen. The
    baseline is the running mean of all rewards, each weighted by 1 / propensity, as an estimate for
    uniform draws. The natural gradient of the expected reward is the advantage (Kakade, A natural
    policy gradient, 2001), so a rare category learns as fast as a frequent one.

    Deterministic: a draw depends on ``seed``, its number and the probabilities, and replaying the
    updates rebuilds the state.
    """

    def __init__(self, categories: Iterable[str], seed: int = 0) -> None:
        """Raises ValueError unless there is a category and none is named twice."""
        self.seed = seed
        self._records: dict[str, _Record] = {}
        self._draws = 0
        self._updates = 0
        self._mean, self._variance = 0.0, REWARD_SD**2
        self.set_categories(categories)

    def set_categories(self, categories: Iterable[str]) -> None:
        """Replace the categories: known ones keep what was learnt, new ones start as average."""
        names = list(categories)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"categories must be distinct and at least one, not {names}")
        self._records = {name: self._records.get(name) or _Record() for name in names}

    def probabilities(self, available: Collection[str] | None = None) -> dict[str, float]:
        """Probability of each category; those not available get 0, the others share the rest.

        Raises:
            ValueError: an available category is unknown, or none is available.
        """
        names = list(self._records) if available is None else list(dict.fromkeys(available))
        if not names or not self._records.keys() >= set(names):
            raise ValueError(f"of the categories {list(self._records)}, {names} are available")
        top = max(self._records[name].theta for name in names)
        weights = {name: math.exp(self._records[name].theta - top) for name in names}
        total = sum(weights.values())
        share = {n: (1 - EPSILON) * w / total + EPSILON / len(names) for n, w in weights.items()}
        return {name: share.get(name, 0.0) for name in self._records}

    def sample(self, available: Collection[str] | None = None, *, trial: int | None = None) -> str:
        """Draw a category. Draws are numbered 0, 1, ... unless ``trial`` is the number."""
        if trial is None:
            trial = self._draws
            self._draws += 1
        probabilities = self.probabilities(available)
        # A string seed is hashed with SHA-512, the same on every platform.
        generator = random.Random(f"{self.seed}:{trial}")
        return generator.choices(list(probabilities), list(probabilities.values()))[0]

    def update(
        self,
        category: str,
        reward: float,
        *,
        propensity: float | None = None,
        available: Collection[str] | None = None,
    ) -> None:
        """Learn that a trial of ``category`` brought ``reward``.

        Args:
            propensity: probability with which the category was drawn; if left out, its probability
                in the current policy over ``available``.
            available: the categories that it was drawn from; all if left out.

        Raises:
            ValueError: an unknown category, a reward that is not finite, a propensity outside
                (0, 1].
        """
        now = self.probabilities(available)
        propensity = now.get(category, 0.0) if propensity is None else propensity
        if category not in now or not math.isfinite(reward) or not 0 < propensity <= 1:
            raise ValueError(
                f"cannot learn {reward} of {category!r}, drawn with probability {propensity}, "
                f"among {list(now)}"
            )
        reach = OUTLIER * math.sqrt(self._variance)
        reward = max(self._mean - reach, min(self._mean + reach, reward))
        self._updates += 1
        rate = 1 / min(MEMORY, MEMORY // 2 + self._updates)
        weight = min(3.0, 1 / (propensity * sum(p > 0 for p in now.values())))
        self._mean += min(1.0, rate * weight) * (reward - self._mean)
        self._variance += rate * ((reward - self._mean) ** 2 - self._variance)
        self._variance = max(LEAST_SD**2, self._variance)
        record = self._records[category]
        record.count = min(MEMORY, record.count + 1)
        record.mean += (reward - record.mean) / record.count
        spread = math.sqrt(self._variance)
        for known in self._records.values():
            advantage = (known.mean - self._mean) / spread * known.count / (known.count + CAUTION)
            advantage = max(-ADVANTAGE_LIMIT, min(ADVANTAGE_LIMIT, advantage))
            known.theta = DECAY * (known.theta + STEP * advantage)
