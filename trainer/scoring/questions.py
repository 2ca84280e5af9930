"""The questions of the usual audits: they ask a model again and compare with its first answers.

Windows, positions and order are drawn from the system's randomness, unknown to the candidate.
``statistics`` judges the answers.
"""

from __future__ import annotations

import random

import numpy as np

from trainer.scoring import statistics
from trainer.scoring.losses import Ids, Losses
from trainer.scoring.model import ModelProcess, Refused
from trainer.scoring.statistics import Finding

WINDOWS = 96
"""Windows that ``ask_again`` changes after one secret position (the cut) each."""
UNTRAINED_WINDOWS = 8


def compare_untrained(untrained: ModelProcess, ids: Ids, targets: Ids, real: Losses) -> Finding:
    """Test whether the trained model is better than an untrained one: on a few windows, which tell
    it of nearly all models, else on all, so that no honest model is refused by the draw."""
    rows = random.SystemRandom().sample(range(len(ids)), len(ids))
    for some in (rows[:UNTRAINED_WINDOWS], rows):
        scored = targets[some] >= 0
        answers = np.concatenate(list(untrained.losses(ids[some], targets[some])))
        found = statistics.movement(answers[scored], real[some][scored])
        if found.ok:
            break
    return found


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
    found = statistics.causality(at_cut, moved[before], unchanged)
    return believe(statistics.state(unchanged)) + believe(found)


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


def _cut(dice: random.Random, targets: Ids) -> int:
    """A secret position with a scored target, in the last quarter half of the time."""
    length = len(targets)
    low = length * 3 // 4 if dice.random() < 0.5 else 0
    candidates = [t for t in range(low, length - 1) if targets[t] >= 0]
    return dice.choice(candidates or [t for t in range(length) if targets[t] >= 0] or [0])
