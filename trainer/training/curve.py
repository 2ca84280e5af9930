"""What a training reports of its steps while its clock runs: its curve, its loss by twentieths.

All of it is as reported by untrusted code. The time of a report is the parent's own.
"""

from __future__ import annotations

import math
from itertools import pairwise

from trainer.presets import Budget

TWENTIETHS = 20
_TENTHS = 10
_FEWEST_RATES = 5
_POINTS = 1000
_ROUNDING = 1e-9

Losses = tuple[float | None, ...]
"""By twentieths of the budget, in bits per byte of the text read; None where none was reported."""


class Curve:
    """Filled with each report, and with how far the clock has come."""

    def __init__(
        self, budget: Budget, bytes_per_token: float, recorded_steps: int | None = None
    ) -> None:
        """
        Args:
            bytes_per_token: of the text that is read.
            recorded_steps: how many steps the clock has that is replayed; None for the real one.
        """
        self.late = 0.0
        """Seconds of a budget of time that start-up has spent, beyond its cap."""
        self.points: list[tuple[float, int, float]] = []
        """(seconds, step, nats per token); every second point goes when there are too many."""
        self.completed = 0
        """Twentieths of the budget that are over."""
        self._budget, self._recorded_steps = budget, recorded_steps
        self._scale = 1 / (math.log(2) * bytes_per_token)  # nats per token to bits per byte
        self._sums = [0.0] * TWENTIETHS
        self._counts = [0] * TWENTIETHS
        self._first_steps: dict[int, tuple[float, int]] = {}
        """By tenths of the budget: (seconds, step) of the first report in it."""

    def share(self, seconds: float, step: int = -1, tokens: int = 0) -> float:
        """Share of the budget that is spent.

        Of a budget of time it goes by the clock; of a replay, which has its own pace, by how many
        of the recorded steps are done.
        """
        if self._budget.tokens is not None:
            return tokens / self._budget.tokens
        if self._recorded_steps is not None:
            return (step + 1) / max(1, self._recorded_steps)
        if self._budget.steps is not None:
            return (step + 1) / self._budget.steps
        assert self._budget.seconds is not None
        return (self.late + seconds) / self._budget.seconds

    def bpb(self, loss: float) -> float:
        """Nats per token in bits per byte of the text that is read."""
        return loss * self._scale

    def add_loss(self, share: float, loss: float) -> None:
        """A loss in nats per token, reported when ``share`` of the budget was spent.

        It counts in the twentieth that ends at or after ``share``, never in one that is over.
        """
        twentieth = math.ceil(TWENTIETHS * share - _ROUNDING) - 1
        if self.completed < TWENTIETHS:
            twentieth = min(max(twentieth, self.completed), TWENTIETHS - 1)
            self._sums[twentieth] += self.bpb(loss)
            self._counts[twentieth] += 1
        self.reach(share)

    def add_step(self, share: float, seconds: float, step: int) -> None:
        """A step, reported after these seconds of the training's clock."""
        self._first_steps.setdefault(min(int(_TENTHS * share), _TENTHS), (seconds, step))

    def add_point(self, seconds: float, step: int, loss: float) -> None:
        self.points.append((round(seconds, 3), step, loss))
        if len(self.points) > _POINTS:
            del self.points[1::2]

    def reach(self, share: float) -> None:
        """So much of the budget is spent, whatever was reported; 1.0 at the training's end."""
        over = math.floor(TWENTIETHS * min(share, 1.0) + _ROUNDING)
        self.completed = max(self.completed, over)

    @property
    def losses(self) -> Losses:
        """The mean of the losses reported in each twentieth, the one under way included."""
        return tuple(
            total / count if count else None
            for total, count in zip(self._sums, self._counts, strict=True)
        )

    @property
    def completed_losses(self) -> Losses:
        """Those of the twentieths that are over."""
        return self.losses[: self.completed]

    @property
    def pace(self) -> float:
        """Steps a second in the second fastest tenth of the budget, over the second slowest.

        The second, because one tenth may hold a pause of the file's own or of the system; a machine
        that has changed its pace has done so for longer. 1.0 if too little was reported.
        """
        rates = sorted(
            (step - earlier_step) / (seconds - earlier)
            for (earlier, earlier_step), (seconds, step) in pairwise(self._first_steps.values())
            if seconds > earlier and step > earlier_step
        )
        return rates[-2] / rates[1] if len(rates) >= _FEWEST_RATES else 1.0
