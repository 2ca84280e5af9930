"""Lie detectors: the statistics by which an audited model is believed or refused.

Pure functions over losses (nats per token) that the scorer measured. An audit asks the model the
same question twice, the second time with something changed that must not matter, and looks at how
far the answers moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MEAN_NATS = 1e-3
MOVED_NATS = 0.1
MOVED_SHARE = 0.01

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """What an audit found."""

    ok: bool
    reason: str
    """"" if ok, otherwise the audit's fixed name, a colon, and the evidence."""
    bound_nats: float
    """How much a leak that the audit cannot tell from nothing could be worth, per token."""


def causality(at_cut: Losses, before_cut: Losses) -> Finding:
    """Whether replacing the text after a position changed the losses up to that position.

    Args:
        at_cut: audited minus real loss at each secret cut, whose target is the first replaced
            token; positive when the real future had helped. Shape [cuts].
        before_cut: the same for all positions before the cuts, any order. Shape [positions].

    A faint leak shows in the mean at the cuts, a local one in the share of positions that moved.
    """
    return _decide("causality", "the text after a position changes its loss", at_cut, before_cut)


def state(again: Losses) -> Finding:
    """Whether a fresh process, another order and other company in the batch changed the losses.

    Args:
        again: second minus first loss at every position of windows that were asked twice.
    """
    return _decide("state", "order, company or memory changes the loss", again, again)


def _decide(name: str, what: str, mean_over: Losses, moves_over: Losses) -> Finding:
    mean = float(mean_over.mean())
    error = float(mean_over.std(ddof=1) / np.sqrt(mean_over.size)) if mean_over.size > 1 else 0.0
    moved = max(_moved(mean_over), _moved(moves_over))
    if abs(mean) > max(MEAN_NATS, 3 * error) or moved > MOVED_SHARE:
        reason = (
            f"{name}: {what} (mean {mean:+.4f} nat over {mean_over.size} positions, "
            f"{moved:.1%} moved by more than {MOVED_NATS} nat)"
        )
        return Finding(False, reason, 0.0)
    return Finding(True, "", max(0.0, mean + 2 * error))


def _moved(differences: Losses) -> float:
    """Share of positions that moved at all, the one that moved most forgiven."""
    count = int((np.abs(differences) > MOVED_NATS).sum())
    return max(0, count - 1) / max(1, differences.size)
