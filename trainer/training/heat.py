"""A heat: several trainings side by side, which take turns, so that pace is the same for all.

A score at a wall-clock budget measures the machine, too. Only one training of a heat runs at a
time, on a clock of its own; the others are stopped. A machine that slows down slows all of them,
and what they share cancels in the difference of their scores.
"""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from trainer.sandbox.client import ForkServer, ServerDied
from trainer.training.compile_cache import CompileCache
from trainer.training.job import Job, Trained
from trainer.training.machine import MACHINE
from trainer.training.parent import OnEvent, Training, run_training

TURN_SHARE = 0.01
"""Length of a turn, as a share of the budget."""
SHORTEST_TURN = 0.05
"""Seconds; stopping and resuming a training takes some milliseconds."""
STEPS_PER_TURN = 3.0
"""A turn has at least this many steps, of the training whose steps are slowest."""
LONGEST_SHARE = 0.1
"""A turn is at most this share of the budget, however long a training says its steps are."""
STARTUP_FACTOR, STARTUP_SLACK = 1.5, 0.2
"""Start-up beyond this many times that of the champion, and these seconds, is training time."""

LEAST_MB = 2_000
"""Least memory for each training of a heat; with less they run one after the other."""


def how_to_train(jobs: Sequence[Job | Trained]) -> str:
    """Whether trainings take turns: under a time budget, where all fit into memory together."""
    runnable = [job for job in jobs if isinstance(job, Job)]
    if len(jobs) == 1:
        return "alone"
    if not runnable or runnable[0].budget.seconds is None or runnable[0].device != "cpu":
        return "in turn"
    return "side by side" if _memory_mb(len(runnable)) > LEAST_MB else "in turn"


def _memory_mb(count: int) -> int:
    """Memory that each of so many trainings may take, so that none can take another's."""
    return int(psutil.virtual_memory().available / 2**20 / count)


def train_all(
    jobs: Sequence[Job | Trained],
    how: str,
    emits: Sequence[OnEvent],
    cancelled: Callable[[], bool],
) -> list[Trained]:
    """Train what can be trained, in the order of ``jobs``."""
    results = {n: job for n, job in enumerate(jobs) if isinstance(job, Trained)}
    runnable = {n: job for n, job in enumerate(jobs) if isinstance(job, Job)}
    if how == "side by side":
        servers, most_mb = MACHINE.servers(len(runnable)), _memory_mb(len(runnable))
        limited = [
            replace(job, preset=replace(job.preset, memory_mb=min(job.preset.memory_mb, most_mb)))
            for job in runnable.values()
        ]
        try:
            done = run_heat(
                servers, MACHINE.compile_cache, limited, [emits[n] for n in runnable], cancelled
            )
        except ServerDied as error:
            MACHINE.close()
            done = [Trained("crashed", f"crash: {error}")] * len(runnable)
        results |= zip(runnable, done, strict=True)
    else:
        for n, job in runnable.items():
            try:
                results[n] = run_training(
                    MACHINE.server(), MACHINE.compile_cache, job, emits[n], cancelled
                )
            except ServerDied as error:
                MACHINE.close()
                results[n] = Trained("crashed", f"crash: {error}")
    return [results[n] for n in range(len(jobs))]


def run_heat(
    servers: Sequence[ForkServer],
    compile_cache: CompileCache,
    jobs: Sequence[Job],
    on_events: Sequence[OnEvent],
    cancelled: Callable[[], bool],
) -> list[Trained]:
    """Train all jobs side by side, each below a server of its own; the first is the champion.

    Raises:
        ServerDied: a fork server is gone, and with it the heat.
    """
    results: dict[int, Trained] = {}
    with contextlib.ExitStack() as stack:
        stack.push(partial(_close_if_failed, results))
        # All servers are up before the first starts: to be started takes all processors.
        trainings = [
            stack.enter_context(Training(server, compile_cache, job, on_event, cancelled))
            for server, job, on_event in zip(servers, jobs, on_events, strict=True)
        ]
        for number, training in enumerate(trainings):
            training.start_up()
            training.pause()
            if training.is_over:
                results[number] = training.finish()
        for training in trainings:
            allowed = STARTUP_FACTOR * trainings[0].startup_seconds + STARTUP_SLACK
            training.startup_cap = min(training.startup_cap, allowed)
        dice = random.Random(secrets.randbits(64))
        while len(results) < len(trainings):
            # A new order each round: whoever goes first may find the caches of another.
            order = [number for number in range(len(trainings)) if number not in results]
            dice.shuffle(order)
            for number in order:
                training = trainings[number]
                training.run(_turn_seconds([trainings[n] for n in order]))
                training.pause()
                if training.is_over:
                    results[number] = training.finish()
        return [results[number] for number in range(len(trainings))]


def _close_if_failed(
    results: dict[int, Trained], kind: type[BaseException] | None, *_: Any
) -> None:
    """Close the weights of the trainings that are over, if nobody will be given them."""
    if kind is not None:
        for trained in results.values():
            trained.close()


def _turn_seconds(trainings: Sequence[Training]) -> float:
    """Length of the next turn, the same for all."""
    budget = trainings[0].job.budget.seconds
    assert budget is not None
    slowest = max(training.step_seconds for training in trainings)
    return min(
        max(TURN_SHARE * budget, SHORTEST_TURN, STEPS_PER_TURN * slowest), LONGEST_SHARE * budget
    )


def numbered(on_event: OnEvent, number: int) -> OnEvent:
    """``on_event``, told which training each event is about."""

    def emit(event: dict[str, Any]) -> None:
        on_event({**event, "training": number})

    return emit
