"""How much of a start-up is free: as long as the champion's own takes, and half of it again.

Before READY a training has no data, but it could learn from what it can read, or from text that it
makes up. What is not free comes off its budget. A start-up that is lent what was compiled before is
compared with one that was lent it, one that compiles with one that compiled. And because something
learnt can be kept among what was compiled, the start-up that left it counts whenever it is lent.
"""

from __future__ import annotations

import math

FACTOR, SLACK_SECONDS = 1.5, 0.2
"""Free are this many times the champion's seconds, and these: no two take equally long."""


class StartUps:
    """The shortest start-up of each source so far, by the key of its compile cache.

    A champion is held to its own shortest, so it gains nothing by a start-up that is long at times.
    A candidate that may become one inherits the champion's, so none gains by a chain of them.
    """

    def __init__(self) -> None:
        self._shortest: dict[tuple[str, bool], float] = {}
        self._compiled_in: dict[str, float] = {}

    def note(self, key: str, lent: bool, seconds: float) -> None:
        """A start-up has ended; ``lent``: with what was compiled before."""
        self._shortest[key, lent] = min(seconds, self._shortest.get((key, lent), math.inf))

    def note_compiled(self, key: str, seconds: float) -> None:
        """What this start-up compiled is kept, and lent from now on."""
        self._compiled_in[key] = seconds

    def inherit(self, key: str, champion: str) -> None:
        """Hold a candidate, should it become champion, to what this champion is held to."""
        for lent in (False, True):
            if (champion, lent) in self._shortest:
                self.note(key, lent, self._shortest[champion, lent])

    def free(self, champion: str | None, lent: bool, cap: float) -> float:
        """Seconds of a start-up that are free, at most ``cap``: of a training that has no champion,
        or one of which nothing is known, all these."""
        if champion is None:
            return cap
        known = self._shortest.get((champion, lent), math.inf)
        return min(cap, FACTOR * known + SLACK_SECONDS)

    def beyond(self, key: str, champion: str | None, lent: bool, cap: float) -> float:
        """Seconds beyond what was free of the start-up that compiled what a training is lent."""
        seconds = self._compiled_in.get(key, 0.0) if lent else 0.0
        return max(0.0, seconds - self.free(champion, False, cap))
