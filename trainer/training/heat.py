"""A heat: several trainings side by side, which take turns, so that pace is the same for all.

A score at a wall-clock budget measures the machine, too. Only one training of a heat runs at a
time, on a clock of its own; the others are stopped. A machine that slows down slows all of them,
and what they share cancels in the difference of their scores.
"""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import psutil

from trainer.sandbox.client import ServerDied, ServerGaveUp
from trainer.training.job import Job, Trained
from trainer.training.machine import MACHINE
from trainer.training.parent import Training, run_training
from trainer.training.process import ChildProcess
from trainer.training.watch import Watch, Watcher

TURN_SHARE = 0.01
"""Length of a turn, as a share of the budget."""
SHORTEST_TURN = 0.05
"""Seconds; stopping and resuming a training takes some milliseconds."""
STEPS_PER_TURN = 1.0
"""A turn has at least so many steps, of the training whose steps are slowest. One, because the
finer the turns, the more evenly a busy machine is shared."""
LONGEST_SHARE = 0.1
"""A turn is at most this share of the budget, however long a training says its steps are."""

LEAST_MB = 2_000
"""Least memory for each training of a heat, if nothing is known of the champion's."""
HEADROOM = 1.25
"""Of each training, times the champion's peak: a candidate may take more."""


def how_to_train(jobs: Sequence[Job | Trained], peak_memory_mb: float | None = None) -> str:
    """Whether trainings take turns: under a time budget, where all fit into memory together.

    Args:
        peak_memory_mb: what the champion is known to take, in memory or on the device; if None, a
            device is taken for too small.
    """
    runnable = [job for job in jobs if isinstance(job, Job)]
    if len(jobs) == 1:
        return "alone"
    has_turns = bool(runnable) and runnable[0].budget.seconds is not None
    fit = has_turns and fits(len(runnable), runnable[0].setting.device, peak_memory_mb)
    return "side by side" if fit else "in turn"


def fits(count: int, device: str, peak_memory_mb: float | None, workers: int = 1) -> bool:
    """Whether so many trainings fit into memory together; see ``how_to_train``.

    Args:
        workers: how many share this machine's memory, with as many trainings each; a device, if
            they have any, is each one's own.
    """
    if peak_memory_mb is None:
        return device == "cpu" and _memory_mb(count * workers) > LEAST_MB
    each = HEADROOM * peak_memory_mb
    on_device = count * each <= MACHINE.probe().get("device_memory_mb", 0.0)
    return each <= _memory_mb(count * workers) and (device == "cpu" or on_device)


def _memory_mb(count: int) -> int:
    """Memory that each of so many trainings may take, so that none can take another's."""
    available = psutil.virtual_memory().available / 2**20
    return int(min(available, MACHINE.share.memory_mb) / count)


@contextlib.contextmanager
def train_all(
    jobs: Sequence[Job | Trained],
    how: str,
    watch: Watch | None = None,
    champion_first: bool = True,
) -> Iterator[list[Trained]]:
    """Train what can be trained, in the order of ``jobs``; the first is the champion.

    A context manager, because the weights are open while they are used.

    Args:
        champion_first: whether the champion, in turn, is trained before the others or after them.
    """
    results = {n: job for n, job in enumerate(jobs) if isinstance(job, Trained)}
    runnable = on_one_footing({n: job for n, job in enumerate(jobs) if isinstance(job, Job)})
    watcher = Watcher(watch, len(jobs), waits=champion_first or how == "side by side")
    for n, broken in results.items():
        watcher.ended(n, broken)
    in_turn = sorted(runnable, key=lambda n: (n == 0) != champion_first)
    groups = [list(runnable)] if how == "side by side" else [[n] for n in in_turn]
    try:
        for group in groups:
            try:
                if how == "side by side":
                    run_heat(runnable, results, watcher)
                else:
                    _run_in_turn(group[0], runnable, results, watcher)
            except ServerDied as error:
                MACHINE.close()
                for n in group:
                    results.pop(n, Trained("")).close()
                    outside = not isinstance(error, ServerGaveUp)
                    results[n] = Trained("crashed", f"crash: {error}", outside=outside)
            for n in group:
                watcher.ended(n, results[n])
        yield [results[n] for n in range(len(jobs))]
    finally:
        for trained in results.values():
            trained.close()


def on_one_footing(jobs: dict[int, Job]) -> dict[int, Job]:
    """The trainings of a heat, each held to the champion's start-up (``startup``).

    What was compiled before is lent to all that have it, or to none: to none if the champion has
    nothing, or a candidate not yet. One whose files cannot be kept compiles on its own time.
    """
    if len(jobs) == 1 or 0 not in jobs:
        return jobs
    cache, champion = MACHINE.compile_cache, jobs[0].compile_key
    tried = all(cache.has_tried(job.compile_key) for job in jobs.values())
    lend = tried and cache.has(champion)
    return {n: replace(job, may_lend=lend, champion=champion) for n, job in jobs.items()}


def _run_in_turn(
    number: int, jobs: Mapping[int, Job], results: dict[int, Trained], watcher: Watcher
) -> None:
    """Run one training of a heat, while no other is there."""
    if (reason := watcher.look(number, ())) is not None:
        results[number] = Trained("abandoned", reason)
        return
    look = partial(watcher.look, number)
    results[number] = run_training(MACHINE.server(), jobs[number], look)


def run_heat(jobs: Mapping[int, Job], results: dict[int, Trained], watcher: Watcher) -> None:
    """Train all jobs side by side, each below a server of its own, with equal shares of the memory.

    Args:
        jobs: by their numbers in the heat; the first is the champion.
        results: is filled, by these numbers.

    Raises:
        ServerDied: a fork server is gone, and with it the heat.
    """
    limits = (job.setting.preset.memory_mb for job in jobs.values())
    memory_mb = min(_memory_mb(len(jobs)), *limits)
    with contextlib.ExitStack() as stack:
        # All servers are up before the first starts: to be started takes all processors.
        children = [
            stack.enter_context(
                ChildProcess(server, memory_mb, job.setting.preset.scratch_mb, job.cancelled)
            )
            for server, job in zip(MACHINE.servers(len(jobs)), jobs.values(), strict=True)
        ]
        trainings = {n: Training(child, jobs[n]) for n, child in zip(jobs, children, strict=True)}
        dice = random.Random(secrets.randbits(64))
        # By lot, because whoever begins first is a little slower to the end.
        for number in dice.sample(list(trainings), len(trainings)):
            trainings[number].start_up()
            trainings[number].pause()
        _end_what_is_over(trainings, results, watcher)
        while order := [number for number in trainings if number not in results]:
            # A new order each round: whoever goes first may find the caches of another.
            dice.shuffle(order)
            for number in order:
                if number not in results:  # it may have been abandoned in this round
                    trainings[number].run(_turn_seconds([trainings[n] for n in order]))
                    trainings[number].pause()
                    _end_what_is_over(trainings, results, watcher)


def _end_what_is_over(
    trainings: Mapping[int, Training], results: dict[int, Trained], watcher: Watcher
) -> None:
    """Finish the trainings that are over, and those that the watcher ends."""
    for number in sorted(trainings, reverse=True):  # the champion may end when nobody else is left
        training = trainings[number]
        if number in results:
            continue
        reason = None if training.is_over else watcher.look(number, training.losses)
        if reason is not None:
            training.abandon(reason)
        if training.is_over:
            results[number] = training.finish()
            watcher.ended(number, results[number])


def _turn_seconds(trainings: Sequence[Training]) -> float:
    """Length of the next turn, the same for all."""
    budget = trainings[0].job.budget.seconds
    assert budget is not None
    slowest = max(training.step_seconds for training in trainings)
    return min(
        max(TURN_SHARE * budget, SHORTEST_TURN, STEPS_PER_TURN * slowest), LONGEST_SHARE * budget
    )
