"""Heats of commits on fresh seeds: what anything is measured with that no trial was judged on."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from agent.campaign.reading import CampaignError
from trainer import measure
from trainer.measure import Measurement


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Of a mean over seeds, by Student's t; ``level`` is the share of intervals that hold.

    Raises:
        ValueError: fewer than two values, which say nothing of their spread.
    """
    mean, count = fmean(values), len(values)
    if count < 2:
        raise ValueError("an interval needs at least two values")
    half = float(stdtrit(count - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def fresh_seed(*of: object) -> int:
    """A seed for what is named by ``of``, always the same; no trial has one so large."""
    digest = hashlib.sha256("\n".join(map(str, of)).encode()).digest()
    return (1 << 40) + int.from_bytes(digest[:5], "big")


def fresh_heat(
    sources: Sequence[str],
    seed: int,
    *,
    names: Sequence[str],
    settings: dict[str, Any],
    budget: str = "",
    split: str = "val",
    may_fail: bool = False,
    on_event: Callable[[dict[str, Any]], None],
    cancel: threading.Event,
) -> list[Measurement]:
    """One heat of all ``sources``, at most ``MOST_TRAININGS``, with one seed.

    Args:
        names: what each source is, in words; those that may not fail are enough.
        settings: a campaign's, for ``budget``, ``preset``, ``data`` and ``isolation``.
        budget: another than the campaign's.
        may_fail: whether a source after the first may end without a score.

    Returns:
        A measurement a source, each of them ``ok`` unless it may fail.

    Raises:
        CampaignError: one of them could not be trained or scored, or it was asked to stop.
    """
    measured = measure.heat(
        sources,
        seed=seed,
        budget=budget or settings["budget"],
        split=split,
        champion_first=seed % 2 == 0,
        on_event=on_event,
        cancel=cancel,
        **{name: settings[name] for name in ("preset", "data", "isolation")},
    )
    for number, one in enumerate(measured):
        if one.status == "killed" and cancel.is_set():
            raise CampaignError("asked to stop; nothing of this heat counts")
        if one.val_bpb is None and not (may_fail and number):
            raise CampaignError(f"{names[number]}: {one.status} ({one.reason})")
    return measured
