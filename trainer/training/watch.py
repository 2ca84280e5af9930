"""Shows the losses of a heat, while it trains, to somebody who may end a training of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.training.curve import Losses
from trainer.training.job import Trained

Watch = Callable[[int, Sequence[float | None], Sequence[float | None]], str | None]
"""Is given the index of a training, its losses by twentieths of the budget so far, and those of the
heat's first training; returns why the training is to end, or None."""

FIRST_LOOK = 2
"""Twentieths that a training has at least; the first loss is that of an untrained model."""
NO_CANDIDATE = "no candidate is left"


class Watcher:
    """What a heat's watch has been shown so far."""

    def __init__(self, watch: Watch | None, count: int, *, waits: bool) -> None:
        """
        Args:
            count: how many trainings the heat has.
            waits: whether the champion trains before the candidates or beside them; a candidate is
                then shown only as far as the champion has come.
        """
        self._watch, self._waits = watch, waits and count > 1
        self._shown = [FIRST_LOOK - 1] * count
        self._champion: Losses = ()
        self._candidates = set(range(1, count))
        """Those that have weights, or may get some."""
        self._alone = count == 1

    def look(self, number: int, losses: Losses) -> str | None:
        """Why a training is to end now, or None. Asks the watch about each twentieth once.

        Args:
            losses: of the twentieths that are over.
        """
        if self._watch is None:
            return None
        if number == 0 and not self._alone:
            self._champion = losses
            return None if self._candidates else NO_CANDIDATE
        over = min(len(losses), len(self._champion)) if self._waits else len(losses)
        if over <= self._shown[number]:
            return None
        self._shown[number] = over
        return self._watch(number, losses[:over], self._champion)

    def ended(self, number: int, trained: Trained) -> None:
        """To be told of each training that is over."""
        if trained.status != "ok":
            self._candidates.discard(number)
        elif number == 0:
            self._champion = trained.losses
