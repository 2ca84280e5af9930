"""The questions of the audits: they ask a model again and compare the answers with the first ones.

Windows, positions and order are drawn from the system's randomness, unknown to the candidate.
``statistics`` judges the answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.scoring import statistics
from trainer.scoring.losses import Ids, Losses
from trainer.scoring.model import ModelProcess, Refused
from trainer.scoring.statistics import Finding

WINDOWS = 96
"""Windows that ``ask_again`` changes after one secret position (the cut) each."""
UNTRAINED_WINDOWS = 8
CUTS = 2048
"""Prefixes of the stronger audit: a leak at 1 position in 500 is missed in 1 of 10 audits."""
CONTROLS = 64
"""Windows that the stronger audit asks unchanged, for the jitter of an honest answer."""


def compare_untrained(untrained: ModelProcess, ids: Ids, targets: Ids, real: Losses) -> Finding:
    """Test on a few windows whether the trained model is better than an untrained one."""
    rows = random.SystemRandom().sample(range(len(ids)), min(UNTRAINED_WINDOWS, len(ids)))
    scored = targets[rows] >= 0
    answers = np.concatenate(list(untrained.losses(ids[rows], targets[rows])))
    return statistics.movement(answers[scored], real[rows][scored])


def ask_again(fresh: ModelProcess, ids: Ids, targets: Ids, real: Losses) -> float:
    """Ask a fresh child again in other order and batches: with another future, then some unchanged.

    Returns an upper bound on the gain from a leak, in nats per token.

    Raises:
        Refused: the answers changed.
    """
    dice = random.SystemRandom()
    rows = np.array(dice.sample(range(len(ids)), min(WINDOWS, len(ids))))
    cuts = np.array([_cut(dice, targets[row]) for row in rows])
    changed = ids[rows]
    for window, cut in zip(changed, cuts, strict=True):
        other = np.roll(ids[dice.randrange(len(ids))], dice.randrange(ids.shape[1]))
        window[cut + 1 :] = other[cut + 1 :]
    count, again = len(rows), rows[: len(rows) // 3 + 1]
    # Changed windows first: a model that remembers must not have seen what comes after a cut.
    moved = _asked(fresh, changed, targets[rows], dice) - real[rows]
    unchanged = _asked(fresh, ids[again], targets[again], dice) - real[again]
    unchanged = unchanged[targets[again] >= 0]
    before = (targets[rows] >= 0) & (np.arange(ids.shape[1]) < cuts[:, None])
    at_cut = moved[np.arange(count), cuts]
    return believe(statistics.state(unchanged)) + believe(
        statistics.causality(at_cut, moved[before], unchanged)
    )


def ask_with_prefixes(
    fresh: ModelProcess,
    ids: Ids,
    targets: Ids,
    real: Losses,
    bos: int,
    emit: Callable[[dict[str, Any]], None],
) -> float:
    """Ask a fresh child at CUTS positions, with only BOS tokens after each.

    Returns an upper bound on the gain from a leak, in nats per token.

    Raises:
        Refused: the answers changed.
    """
    dice = random.SystemRandom()
    count, length = ids.shape
    turns = -(-CUTS // count)
    asked = [
        np.array(dice.sample(range(count), min(count, CUTS - i * count))) for i in range(turns)
    ]
    # Each turn asks longer prefixes: remembering earlier ones tells nothing about later text.
    cuts_of = {
        row: sorted(_cut(dice, targets[row], late=0.0) for _ in range(turns))
        for row in range(count)
    }
    losses, real_losses = [], []
    for turn, rows in enumerate(asked):
        cuts = np.array([cuts_of[row][turn] for row in rows])
        prefixes = np.where(np.arange(length) <= cuts[:, None], ids[rows], bos)
        at_cut = np.arange(len(rows)), cuts
        losses.append(fresh.answers(prefixes, targets[rows])[at_cut])
        real_losses.append(real[rows][at_cut])
        emit({"event": "scoring", "fraction": (turn + 1) / (turns + 1)})
    controls = np.array(dice.sample(range(count), min(CONTROLS, count)))
    again = _asked(fresh, ids[controls], targets[controls], dice) - real[controls]
    again = again[targets[controls] >= 0]
    audited = np.concatenate(losses)
    moved = audited - np.concatenate(real_losses)
    return believe(statistics.state(again)) + believe(statistics.prefix(moved, again, audited))


def believe(finding: Finding) -> float:
    """The bound of a finding, nats per token.

    Raises:
        Refused: the finding is that the model is not accepted.
    """
    if not finding.ok:
        raise Refused(finding.reason)
    return finding.bound_nats


def _asked(child: ModelProcess, ids: Ids, targets: Ids, dice: random.Random) -> Losses:
    """Losses of all windows, asked in a random order."""
    order = np.array(dice.sample(range(len(ids)), len(ids)))
    losses = np.empty(ids.shape, dtype=np.float64)
    losses[order] = child.answers(ids[order], targets[order])
    return losses


def _cut(dice: random.Random, targets: Ids, late: float = 0.5) -> int:
    """A secret position with a scored target, in the last quarter with probability ``late``."""
    length = len(targets)
    low = length * 3 // 4 if dice.random() < late else 0
    candidates = [t for t in range(low, length - 1) if targets[t] >= 0]
    return dice.choice(candidates or [t for t in range(length) if targets[t] >= 0] or [0])
