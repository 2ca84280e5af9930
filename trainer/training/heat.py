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
from functools import partial
from typing import Any

from trainer.sandbox.client import ForkServer
from trainer.training.compile_cache import CompileCache
from trainer.training.job import Job, Trained
from trainer.training.parent import OnEvent, Training

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
