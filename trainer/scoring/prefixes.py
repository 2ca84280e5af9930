"""The question of the stronger audit: what does a model answer to prefixes alone?

One forward pass tests one position (the cut), since only there the next token is the first that is
hidden. So the passes are cheap: only the logits at the cut are returned, and windows are asked no
longer than their prefix needs. A model that behaves itself because it sees that it is audited gains
nothing: compared is what it answers here, without the future, with the score that it already got.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from trainer.scoring import statistics
from trainer.scoring.losses import Ids, Losses
from trainer.scoring.model import Batch, ModelProcess, Refused, finite
from trainer.scoring.questions import believe

LEAST_CUTS = 2048
CONTROLS = 64
"""Windows that are asked again unchanged, for the jitter of an honest answer."""
PARTS = 8
"""Prefixes are padded to the next of so many equal parts of a window: half of the work is saved."""
TIMED_BATCHES = 5


@dataclass(frozen=True)
class Text:
    """Windows of the text, and what the model scored on them."""

    ids: Ids
    targets: Ids
    real: Losses
    bos: int

    @property
    def positions(self) -> Ids:
        """Where a cut may be, numbered through all windows: at scored targets.

        At a window's last position the whole window is the prefix; ``state`` is asked about it.
        """
        scored = self.targets >= 0
        scored[:, 1:][:, -1:] = False
        return np.flatnonzero(scored)


@dataclass(frozen=True)
class Answers:
    """What a model answered to prefixes alone."""

    audited: Losses
    """Losses at the cuts."""
    moved: Losses
    """The same less the real ones."""
    controls: Losses
    """Second minus first loss at the positions of unchanged windows of the same lengths."""


def ask_with_prefixes(
    start_child: Callable[[], ModelProcess],
    text: Text,
    enough: int,
    whole_windows: int,
    emit: Callable[[dict[str, Any]], None],
) -> tuple[float, int]:
    """Ask a fresh child at secret positions, each with the prefix and nothing else.

    Args:
        enough: at so many positions at most.
        whole_windows: and at so many as take no longer than as many whole windows; in any case at
            LEAST_CUTS.

    Returns an upper bound on the gain from a leak, in nats per token, and the number of cuts.

    Raises:
        Refused: the answers changed.
    """
    length, positions = text.ids.shape[1], text.positions
    parts = sorted({-(-length * (k + 1) // PARTS) for k in range(PARTS)})
    for lengths in (parts, [length]):  # some models can answer whole windows only
        affordable = int(whole_windows * length / np.mean(lengths))
        count = min(len(positions), max(LEAST_CUTS, min(enough, affordable)))
        try:
            with contextlib.closing(start_child()) as fresh:
                answers = _ask(fresh, text, positions, lengths, count, emit)
        except Refused as refused:
            if lengths == [length] or not str(refused).startswith(("eval-crash", "shape")):
                raise
            continue
        state = statistics.state(answers.controls)
        if state.ok:
            break
    found = statistics.prefix(answers.moved, answers.controls, answers.audited, len(positions))
    return believe(state) + believe(found), count


def _ask(
    child: ModelProcess,
    text: Text,
    positions: Ids,
    lengths: Sequence[int],
    count: int,
    emit: Callable[[dict[str, Any]], None],
) -> Answers:
    dice = random.SystemRandom()
    drawn = positions[dice.sample(range(len(positions)), count)]
    rows, cuts = np.divmod(drawn, text.ids.shape[1])
    # All shorter prefixes first: remembering them tells nothing of what follows a longer one.
    order = np.argsort(cuts, kind="stable")
    rows, cuts = rows[order], cuts[order]
    batches = _batches(text, rows, cuts, lengths, child.cut_rows)
    audited = np.empty(count)
    done = 0
    for losses in child.ask(batches):
        audited[done : done + len(losses)] = finite(losses)
        before, done = done, done + len(losses)
        if 100 * done // count > 100 * before // count:
            emit({"event": "scoring", "fraction": done / count})
    controls = []
    windows = np.array(dice.sample(range(len(text.ids)), min(CONTROLS, len(text.ids))))
    for part, length in zip(np.array_split(windows, len(lengths)), lengths, strict=True):
        if len(part):
            targets = text.targets[part, :length]
            again = child.answers(text.ids[part, :length], targets) - text.real[part, :length]
            controls.append(again[targets >= 0])
    return Answers(audited, audited - text.real[rows, cuts], np.concatenate(controls))


def _batches(
    text: Text, rows: Ids, cuts: Ids, lengths: Sequence[int], most: Callable[[int], int]
) -> Iterator[Batch]:
    """Batches of one length each, BOS after the cuts, no window twice in one: it would tell."""
    start = 0
    while start < len(rows):
        length = next(length for length in lengths if cuts[start] < length)
        stop, company = start, set[int]()
        while (
            stop < min(len(rows), start + most(length))
            and cuts[stop] < length
            and int(rows[stop]) not in company
        ):
            company.add(int(rows[stop]))
            stop += 1
        those, at = rows[start:stop], cuts[start:stop]
        hidden = np.arange(length) > at[:, None]
        prefixes = np.where(hidden, text.bos, text.ids[those, :length])
        yield Batch(prefixes, text.targets[those, at], at)
        start = stop


def seconds_a_window(child: ModelProcess, text: Text) -> float:
    """What one whole window takes, where one row of logits is returned: processor time, on a device
    clock, so that the charge does not go by what else runs on this machine."""
    length = text.ids.shape[1]
    ids = text.ids[: child.cut_rows(length)]
    batch = Batch(ids, text.targets[: len(ids), -1], np.full(len(ids), length - 1))
    took = []
    for _ in range(TIMED_BATCHES):
        began = child.seconds()
        list(child.ask([batch]))
        took.append(child.seconds() - began)
    return median(took) / len(ids)
