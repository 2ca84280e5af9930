"""Lie detectors: the statistics by which an audited model is believed or refused.

Pure functions over losses (nats per token) that the scorer measured. ``causality``, ``state`` and
``prefix`` ask the model the same question twice, the second time with something changed that must
not matter, and look at how far the answers moved. ``movement`` takes away what must matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trainer.scoring.losses import Losses

MEAN_NATS = 1e-3
MOVED_NATS = 0.1
"""A position whose loss moves by more has moved, where nothing may have moved it."""
LEAST_MOVED_NATS = 0.02
"""The same, where the jitter of the model's own answers is small."""
JITTERS = 5.0
"""What is beyond so many times the jitter of most positions has moved."""
MOVED_SHARE = 0.01
CONFIDENCE = 0.95
UNTRAINED_NATS = 100.0
"""Loss of an untrained model at most: it may give what is no number."""


@dataclass(frozen=True)
class Finding:
    """What an audit found."""

    ok: bool
    reason: str
    """"" if ok, otherwise the audit's fixed name, a colon, and the evidence."""
    bound_nats: float
    """How much a leak that the audit cannot tell from nothing could be worth, per token."""


def causality(at_cut: Losses, before_cut: Losses, again: Losses) -> Finding:
    """Whether replacing the text after a position changed the losses up to that position.

    Args:
        at_cut: audited minus real loss at each secret cut, whose target is the first replaced
            token; positive when the real future had helped. Shape [cuts].
        before_cut: the same for all positions before the cuts, any order. Shape [positions].
        again: second minus first loss where nothing was replaced, asked in the same go.

    A faint leak shows in the mean at the cuts, a local one in the share of positions that moved.
    """
    tolerance = _tolerance(again)
    what = "the text after a position changes its loss"
    return _decide("causality", what, at_cut, before_cut, tolerance)


def state(again: Losses) -> Finding:
    """Whether a fresh process, another order and other company in the batch changed the losses.

    Args:
        again: second minus first loss at every position of windows that were asked twice.
    """
    what = "order, company or memory changes the loss"
    return _decide("state", what, again, again, MOVED_NATS)


def movement(untrained: Losses, trained: Losses) -> Finding:
    """Whether the score comes from what was trained.

    Args:
        untrained: losses of the model as ``build_model`` makes it. Shape [positions].
        trained: losses with the weights of the training, at the same positions.

    A file that carries its knowledge in itself scores as well without its training.
    """
    gained = np.clip(np.nan_to_num(untrained, nan=np.inf), 0.0, UNTRAINED_NATS) - trained
    mean, error = _mean_and_error(gained)
    if mean > max(MEAN_NATS, 3 * error):
        return Finding(True, "", 0.0)
    reason = (
        f"movement: the model scores as well without its training ({mean:+.4f} nat between the "
        f"weights of build_model and those of train, over {gained.size} positions)"
    )
    return Finding(False, reason, 0.0)


def prefix(at_cut: Losses, controls: Losses, audited: Losses) -> Finding:
    """Whether the model knows at many secret positions what a prefix alone does not tell.

    The stronger audit of what is about to be kept: rare leaks count, not only common ones.

    Args:
        at_cut: audited minus real loss at each cut, where the audited answer was given on the
            prefix and nothing else. Shape [cuts].
        controls: second minus first loss where the same window was asked twice: honest jitter.
        audited: the audited losses themselves, nats. Shape [cuts].

    The bound is the faint leak that the mean leaves room for, and a leak at as large a share of
    positions as could have stayed unseen with probability 1 - CONFIDENCE, each worth a whole token.
    """
    mean, error = _mean_and_error(at_cut)
    tolerance = _tolerance(controls)
    moved = int((np.abs(at_cut) > tolerance).sum())
    expected = float((np.abs(controls) > tolerance).mean()) * at_cut.size
    if abs(mean) > max(MEAN_NATS, 3 * error) or moved > 1 + 3 * expected:
        reason = (
            f"causality: the prefix alone gives another loss (mean {mean:+.4f} nat, {moved} of "
            f"{at_cut.size} positions moved by more than {tolerance:.2f} nat)"
        )
        return Finding(False, reason, 0.0)
    unseen = poisson_upper(moved) / at_cut.size * float(audited.mean())
    return Finding(True, "", max(0.0, mean + 2 * error) + unseen)


def poisson_upper(count: int) -> float:
    """Upper 95 % limit of a Poisson mean of which ``count`` were seen.

    Half a quantile of chi-squared (Garwood, Biometrika 28, 1936) by Wilson and Hilferty's
    approximation (PNAS 17, 1931), good to 1 %.
    """
    n = count + 1
    z = NormalDist().inv_cdf(CONFIDENCE)
    return float(n * (1 - 1 / (9 * n) + z / (3 * n**0.5)) ** 3)


def _decide(
    name: str, what: str, mean_over: Losses, moves_over: Losses, tolerance: float
) -> Finding:
    mean, error = _mean_and_error(mean_over)
    moved = max(_moved(mean_over, tolerance), _moved(moves_over, tolerance))
    if abs(mean) > max(MEAN_NATS, 3 * error) or moved > MOVED_SHARE:
        reason = (
            f"{name}: {what} (mean {mean:+.4f} nat over {mean_over.size} positions, "
            f"{moved:.1%} moved by more than {tolerance:.2f} nat)"
        )
        return Finding(False, reason, 0.0)
    return Finding(True, "", max(0.0, mean + 2 * error))


def _tolerance(again: Losses) -> float:
    """How far a position may move, by how far its like do when nothing is changed, nats."""
    if again.size == 0:
        return MOVED_NATS
    jitter = JITTERS * float(np.quantile(np.abs(again), 0.99))
    return min(MOVED_NATS, max(LEAST_MOVED_NATS, jitter))


def _mean_and_error(values: Losses) -> tuple[float, float]:
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0
    return float(values.mean()), error


def _moved(differences: Losses, tolerance: float) -> float:
    """Share of positions that moved at all, the one that moved most forgiven."""
    count = int((np.abs(differences) > tolerance).sum())
    return max(0, count - 1) / max(1, differences.size)
