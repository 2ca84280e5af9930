"""Statistical tests of the audits: they decide whether a model is accepted or refused.

Pure functions over losses (nats per token) that the scorer measured. ``causality``, ``state`` and
``prefix`` compare two answers to the same question. Before the second answer, something was changed
that must not matter; they test how far the losses moved. ``movement`` compares the model with and
without its trained weights, which must matter.
"""

from __future__ import annotations

import math
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
TAIL_SHARE = 0.02
"""Of the audited losses: so many of the largest tell how the largest of all may be."""
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
    if not gained.any():
        reason = "movement: the training changed nothing, as a step at a learning rate of 0 does"
        return Finding(False, reason, 0.0)
    mean, error = _mean_and_error(gained)
    if mean > max(MEAN_NATS, 3 * error):
        return Finding(True, "", 0.0)
    reason = (
        f"movement: the model scores as well without its training ({mean:+.4f} nat between the "
        f"weights of build_model and those of train, over {gained.size} positions)"
    )
    return Finding(False, reason, 0.0)


def prefix(at_cut: Losses, controls: Losses, audited: Losses, population: int) -> Finding:
    """Whether the model knows, at many secret positions, more than the prefix alone tells.

    The stronger audit of weights about to be kept: it detects rare leaks too, not only common ones.

    Args:
        at_cut: audited minus real loss at each cut, where the audited answer was given on the
            prefix and nothing else. Shape [cuts].
        controls: second minus first loss where the same window was asked twice: honest jitter.
        audited: the audited losses themselves, nats. Shape [cuts].
        population: positions that the cuts were drawn from, all with the same probability.

    The bound is the sum of two terms: the largest faint leak that the mean allows, and what a leak
    at few positions may have gained unseen (``unseen``).
    """
    mean, error = _mean_and_error(at_cut)
    tolerance = _tolerance(controls)
    moved = int((np.abs(at_cut) > tolerance).sum())
    jitter = np.abs(controls) > tolerance
    expected = float(jitter.mean()) * at_cut.size
    if abs(mean) > max(MEAN_NATS, 3 * error) or moved > 1 + 3 * expected:
        reason = (
            f"causality: the prefix alone gives another loss (mean {mean:+.4f} nat, {moved} of "
            f"{at_cut.size} positions moved by more than {tolerance:.2f} nat)"
        )
        return Finding(False, reason, 0.0)
    count = int(jitter.sum())
    certain = max(0.0, count - 2 * count**0.5) / jitter.size * at_cut.size
    gain = unseen(audited, audited.size, population, moved, certain)
    return Finding(True, "", max(0.0, mean + 2 * error) + gain)


def unseen(
    audited: Losses, cuts: int, population: int, moved: int = 0, jitter: float = 0.0
) -> float:
    """Upper bound on the gain per token from a leak at few positions, nats, at CONFIDENCE.

    Args:
        audited: losses on prefixes alone, nats, at positions drawn at random.
        cuts: how many positions were audited, of the ``population``.
        moved: cuts that answered otherwise with the future at hand.
        jitter: how many of these an honest model has.

    Of K positions with a leak, cuts at a share f of all positions miss every one with probability
    (1 - f)**K at most, so K is at most 3 / -log(1 - f) where nothing moved. A leak at a position
    gains at most the loss that the model would have had there without it, and a model can leak
    where that loss is largest: so K counts at the mean of the K largest honest losses of the
    population, far above the mean of all. The audited losses tell these, because there the future
    was not at hand; the real ones do not, they are lowest where a model peeks.

    For the same reason the cuts are drawn evenly. To draw more where a loss is high takes a loss
    that the candidate cannot lower. The rarity of a token is none (it says little of which tokens
    are hard), and drawing half by the champion's losses would move the bound by a tenth or so,
    up or down, since a leak may choose positions that are hard for the candidate only.
    """
    share = cuts / population
    excess = max(poisson_upper(0), poisson_upper(moved) - jitter)
    if moved > 0:
        most = excess / cuts
    elif share < 1:
        most = excess / -math.log1p(-share) / population
    else:
        return 0.0
    return most * tail_mean(audited, most)


def tail_mean(losses: Losses, share: float) -> float:
    """Mean of the largest losses, this share of a population, of which ``losses`` are a sample.

    Beyond its largest TAIL_SHARE a sample is small, and has none of what a leak hides: from there
    on the tail is taken to be exponential (peaks over threshold), while that of a language
    model's losses falls faster.
    """
    tail = min(1.0, max(share, TAIL_SHARE))
    start = float(np.quantile(losses, 1 - tail))
    beyond = losses[losses > start]
    excess = float(beyond.mean()) - start if beyond.size else 0.0
    return start + excess * (1 + math.log(tail / min(share, tail)))


def cuts_for(losses: Losses, enough: float) -> int:
    """How many cuts among positions with these losses make ``unseen`` as small as ``enough``."""
    sizes = np.unique(np.geomspace(1, losses.size, 200).astype(int))
    found = (int(cuts) for cuts in sizes if unseen(losses, int(cuts), losses.size) <= enough)
    return next(found, losses.size)


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
