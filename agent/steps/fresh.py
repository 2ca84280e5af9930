"""Heats of commits on fresh seeds: what anything is measured with that no trial was judged on."""

from __future__ import annotations

import hashlib
import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, TypeVar

import scipy

from agent.campaign.reading import CampaignError
from agent.executors.base import Executor, Work
from trainer.errors import UserError
from trainer.measure import Measurement

T = TypeVar("T")


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
    half = (
        float(scipy.special.stdtrit(count - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(count)
    )
    return Interval(mean, mean - half, mean + half)


def fresh_seed(*of: object) -> int:
    """A seed for what is named by ``of``, always the same; no trial has one so large."""
    digest = hashlib.sha256("\n".join(map(str, of)).encode()).digest()
    return (1 << 40) + int.from_bytes(digest[:5], "big")


def fresh_heat(
    sources: Sequence[str],
    seed: int,
    *,
    executor: Executor,
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
    how = {name: settings[name] for name in ("preset", "data", "isolation")}
    how |= {"seed": seed, "budget": budget or settings["budget"]}
    how |= {"split": split, "champion_first": seed % 2 == 0}
    work = Work("heat", tuple(sources), how)
    measured: list[Measurement] = executor.run(work, on_event=on_event, cancel=cancel)
    for number, one in enumerate(measured):
        if one.status == "killed" and cancel.is_set():
            raise CampaignError("asked to stop; nothing of this heat counts")
        if one.val_bpb is None and not (may_fail and number):
            raise CampaignError(f"{names[number]}: {one.status} ({one.reason})")
    return measured


def side_by_side(jobs: Sequence[Callable[[], T]], slots: int) -> list[T | UserError]:
    """What the jobs return, in their order, or how they failed: as many at a time as there are
    ``slots``, and none is begun once one has failed."""
    found: dict[int, T | UserError] = {}
    left, has_failed = enumerate(jobs), threading.Event()
    over: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        error: BaseException | None = None
        try:
            for number, job in left:
                if has_failed.is_set():
                    break
                try:
                    found[number] = job()
                except UserError as failed:
                    found[number] = failed
                    has_failed.set()
        except BaseException as unexpected:  # noqa: BLE001  it is raised where all are awaited
            error = unexpected
            has_failed.set()
        over.put(error)

    count = min(slots, len(jobs))
    if count > 1:
        for _ in range(count):
            threading.Thread(target=work, daemon=True).start()
    else:
        work()
    for error in [over.get() for _ in range(max(1, count))]:
        if error is not None:
            raise error
    return [found[number] for number in sorted(found)]
