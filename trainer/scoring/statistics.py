"""Statistical tests of the audits: they decide whether a model is accepted or refused.

Pure functions over losses (nats per token) that the scorer measured. ``causality``, ``state`` and
``prefix`` compare two answers to the same question. Before the second answer, something was changed
that must not matter; they test how far the losses moved. ``movement`` compares the model with and
without its trained weights, which must matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trainer.scoring.losses import Losses

MEAN_NATS = 1e-3
MOVED_NATS = 0.1
"""A position has moved if its loss changes by more than this, where nothing may change it."""
LEAST_MOVED_NATS = 0.02
"""The same, where the jitter of the model's own answers is small."""
JITTERS = 5.0
"""A position has moved if its change is more than this many times the jitter of most positions."""
MOVED_SHARE = 0.01
CONFIDENCE = 0.95
UNTRAINED_NATS = 100.0
"""Upper limit for the losses of an untrained model, which may not be numbers."""


@dataclass(frozen=True)
class Finding:
    """What an audit found."""

    ok: bool
    reason: str
    """"" if ok, otherwise the audit's fixed name, a colon, and the evidence."""
    bound_nats: float
    """Upper bound on the gain per token from a leak that the audit cannot detect."""


def causality(at_cut: Losses, before_cut: Losses, again: Losses) -> Finding:
    """Whether replacing the text after a position changed the losses up to that position.

    Args:
        at_cut: audited minus real loss at each secret cut, whose target is the first replaced
            token; positive when the real future had helped. Shape [cuts].
        before_cut: the same for all positions before the cuts, any order. Shape [positions].
        again: second minus first loss where nothing was replaced, asked in the same audit.

    A faint leak shows in the mean at the cuts, a local one in the share of positions that moved.
    """
    tolerance = _tolerance(again)
    what = "the text after a position changes its loss"
    return _decide("causality", what, at_cut, before_cut, tolerance)


def state(again: Losses) -> Finding:
    """Whether a fresh process, another order and other windows in the batch changed the losses.

    Args:
        again: second minus first loss at every position of windows that were asked twice.
    """
    what = "order, company or memory changes the loss"
    return _decide("state", what, again, again, MOVED_NATS)


def movement(untrained: Losses, trained: Losses) -> Finding:
    """Whether the score comes from the training.

    Args:
        untrained: losses of the model as ``build_model`` makes it. Shape [positions].
        trained: losses with the weights of the training, at the same positions.

    A file that already contains its knowledge scores as well without its training.
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
    """Whether the model knows, at many secret positions, more than the prefix alone tells.

    The stronger audit of weights about to be kept: it detects rare leaks too, not only common ones.

    Args:
        at_cut: audited minus real loss at each cut, where the audited answer was given on the
            prefix and nothing else. Shape [cuts].
        controls: second minus first loss where the same window was asked twice: honest jitter.
        audited: the audited losses themselves, nats. Shape [cuts].

    The bound is the sum of two terms: the largest faint leak that the mean allows, and a leak at
    the largest share of positions that could stay unseen with probability 1 - CONFIDENCE. Each of
    these positions counts with the loss of a whole token.
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
    """Upper 95 % confidence limit of a Poisson mean, after ``count`` observed events.

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
    """How far a position may move, from how far positions move when nothing is changed, nats."""
    if again.size == 0:
        return MOVED_NATS
    jitter = JITTERS * float(np.quantile(np.abs(again), 0.99))
    return min(MOVED_NATS, max(LEAST_MOVED_NATS, jitter))


def _mean_and_error(values: Losses) -> tuple[float, float]:
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0
    return float(values.mean()), error


def _moved(differences: Losses, tolerance: float) -> float:
    """Share of positions that moved by more than ``tolerance``, without the one that moved most."""
    count = int((np.abs(differences) > tolerance).sum())
    return max(0, count - 1) / max(1, differences.size)
