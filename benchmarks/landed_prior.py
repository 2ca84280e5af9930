"""The prior before REINFORCE, as of commit 6c59213, over many campaigns; for comparison only.

At each update it added the advantage of every category's running mean to that category's logit,
whoever was drawn, and it knew no context. It had one campaign and named categories; here arrays
have an entry for each campaign and category, and STEP and DECAY may differ. Left out are draws,
checks of what is given, and categories that come and go.
"""

from __future__ import annotations

import numpy as np

EPSILON = 0.1
STEP, DECAY = 1.2, 0.8
ADVANTAGE_LIMIT = 3.0
CAUTION = 5
MEMORY = 20
REWARD_SD, LEAST_SD = 0.2, 0.01
OUTLIER = 10.0


class LandedPrior:
    """``(1 - eps) softmax(theta) + eps / K`` of ``count`` campaigns."""

    def __init__(
        self, count: int, categories: int, step: float = STEP, decay: float = DECAY
    ) -> None:
        self.step, self.decay = step, decay
        self.theta, self.means = np.zeros((count, categories)), np.zeros((count, categories))
        self.counts = np.zeros((count, categories))
        self.mean, self.variance = np.zeros(count), np.full(count, REWARD_SD**2)
        self.rows, self.updates = np.arange(count), 0

    def probabilities(self, available: np.ndarray) -> np.ndarray:
        theta = np.where(available, self.theta, -np.inf)
        weights = np.exp(theta - theta.max(axis=1, keepdims=True))
        share = (1 - EPSILON) * weights / weights.sum(axis=1, keepdims=True)
        return share + EPSILON * available / available.sum(axis=1, keepdims=True)

    def update(self, chosen: np.ndarray, reward: np.ndarray, available: np.ndarray) -> None:
        at = (self.rows, chosen)
        propensity = self.probabilities(available)[at]
        reach = OUTLIER * np.sqrt(self.variance)
        reward = np.clip(reward, self.mean - reach, self.mean + reach)
        self.updates += 1
        rate = 1 / min(MEMORY, MEMORY // 2 + self.updates)
        weight = np.minimum(3.0, 1 / (propensity * available.sum(axis=1)))
        self.mean += np.minimum(1.0, rate * weight) * (reward - self.mean)
        self.variance += rate * ((reward - self.mean) ** 2 - self.variance)
        self.variance = np.maximum(LEAST_SD**2, self.variance)
        self.counts[at] = np.minimum(MEMORY, self.counts[at] + 1)
        self.means[at] += (reward - self.means[at]) / self.counts[at]
        gains = (self.means - self.mean[:, None]) / np.sqrt(self.variance)[:, None]
        advantage = gains * self.counts / (self.counts + CAUTION)
        limited = np.clip(advantage, -ADVANTAGE_LIMIT, ADVANTAGE_LIMIT)
        self.theta = self.decay * (self.theta + self.step * limited)
