"""Campaigns made of what was measured: the landscape of edits, and published logs.

Both only replay. In the landscape an edit is worth what it was worth to the file that it was
measured on, however many others were kept before it; and what is kept is not proposed again. In a
published log the trials are those that its agent proposed, with the gain over its champion of then.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from agent.judge import REWARD_HIGH, REWARD_LOW
from benchmarks.prior.families import Array, Outcome
from benchmarks.prior.published import CATEGORIES, Row, read

UNIT = 0.01
"""Bits per byte that are a reward of 1 in published campaigns: the preset ``gpu``'s."""
HORIZON, STRIDE, WINDOW = 50, 1.4, 10
"""Trials of a replayed campaign; how far the window moves on with each; how far it reaches."""


@cache
def campaigns() -> dict[int, tuple[Row, ...]]:
    """Published campaigns that are long enough for a replay, without what was never tried."""
    rows = [row for row in read() if row.category and row.status in ("keep", "discard", "crash")]
    found = {number: tuple(r for r in rows if r.campaign == number) for number in range(100)}
    return {n: c for n, c in found.items() if len(c) >= STRIDE * (HORIZON - 1) + WINDOW - 1}


def reward_of(row: Row) -> float:
    if row.gain is None:
        return REWARD_LOW
    return min(REWARD_HIGH, max(REWARD_LOW, row.gain / UNIT))


class Published:
    """Replays: the arm only ranks what the log tries within the next few trials.

    At each trial the arm sees which categories have a trial of the log within a window of ten that
    moves on by 1.4 a trial; it names one; one of that category's trials in the window, drawn by
    chance, is spent and its reward is learnt. So seven trials out of ten are spent, each at most
    ten places from where it stood, beside nearly the same champion. An arm is scored by the mean
    reward of what its category had in the window, and the oracle knows these means. What an edit
    would have brought to another champion, and what an agent that is told another category would
    have proposed, a log cannot tell.
    """

    def __init__(self, count: int, salt: int, repeats: int = 1, only: tuple[int, ...] = ()) -> None:
        logs = [log for n, log in campaigns().items() if not only or n in only]
        names = [n for n in campaigns() if not only or n in only]
        self.steps, self.categories, self.count = HORIZON, len(CATEGORIES), count
        which = np.arange(count) // repeats % len(logs)
        self.groups = np.array(names)[which]
        longest = max(map(len, logs))
        kind, reward = np.full((len(logs), longest), -1), np.zeros((len(logs), longest))
        kept = np.zeros((len(logs), longest), bool)
        crashed = np.zeros((len(logs), longest), bool)
        for i, log in enumerate(logs):
            kind[i, : len(log)] = [CATEGORIES.index(row.category) for row in log]
            reward[i, : len(log)] = [reward_of(row) for row in log]
            kept[i, : len(log)] = [row.status == "keep" for row in log]
            crashed[i, : len(log)] = [row.status == "crash" for row in log]
        self._kind, self._reward = kind[which], reward[which]
        self._kept, self._crashed = kept[which], crashed[which]
        self._luck = np.random.default_rng([91, salt]).random((HORIZON, count))
        self._now, self._rows = 0, np.arange(count)

    def _seen(self) -> Array:
        """[campaigns, WINDOW, categories]: what of the window is there and of which category."""
        start = int(STRIDE * self._now)
        kind = self._kind[:, start : start + WINDOW]
        return kind[:, :, None] == np.arange(self.categories)

    def left(self) -> Array:
        """[campaigns, trials of the log]: what was not spent yet."""
        return self._kind >= 0

    def available(self) -> Array:
        return self._seen().any(axis=1)

    def expected(self) -> Array:
        start = int(STRIDE * self._now)
        seen, reward = self._seen(), self._reward[:, start : start + WINDOW]
        count = seen.sum(axis=1)
        mean = (seen * reward[:, :, None]).sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, mean, 0.0)

    def best(self) -> Array:
        return np.argmax(np.where(self.available(), self.expected(), -np.inf), axis=1)

    def pull(self, choice: Array) -> Outcome:
        start = int(STRIDE * self._now)
        mine = self._seen()[self._rows, :, choice]
        nth = np.floor(self._luck[self._now] * mine.sum(axis=1))
        at = start + np.argmax(mine & (np.cumsum(mine, axis=1) == nth[:, None] + 1), axis=1)
        where = (self._rows, at)
        outcome = Outcome(self._reward[where], self._crashed[where], self._kept[where])
        self._kind[where] = -1
        self._now += 1
        return outcome
