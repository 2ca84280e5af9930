"""How many trials are under way side by side, and the lanes that bring them to their verdicts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from agent.proposers.hybrid import Hybrid
from agent.proposers.llm import ModelProposer
from agent.proposers.local import LocalProposer
from agent.steps.heat import has_turns, peak_memory_mb
from agent.steps.runtime import NothingLeft, Runtime, Stopped
from trainer.measure import fits

LOOK_SECONDS = 0.5
"""How often it is seen whether the run is to stop, and whether there are other devices."""
MOST = 4
"""Candidates of a heat where nothing else is said: each more saves less, and one champion's luck
would decide over more of them."""


def room_of(runtime: Runtime) -> int:
    """How many candidates the next heat takes: what program.md says, or what fits into memory.

    Under a budget of tokens a champion's training is used again, and company saves nothing.
    """
    if runtime.settings.sequential:
        return 1
    if runtime.settings.heat != "auto":
        return int(runtime.settings.heat)
    if not has_turns(runtime):
        return 1
    champion = runtime.champion
    device = str(champion.of("candidate")[-1].fingerprint.get("device", "cpu"))
    peak = peak_memory_mb(runtime, champion)
    beside = runtime.settings.workers
    most = (k for k in range(1, MOST + 1) if fits(k + 1, device, peak, beside))
    return max(most, default=1)


def lanes_for(runtime: Runtime) -> int:
    """As many as train at once, and, where a model is asked, what the next heat can take plus one.

    A recorded model is asked in the order in which it was.
    """
    if runtime.settings.sequential:
        return 1
    room, proposer = runtime.devices.room, runtime.proposer
    asked = proposer.structure if isinstance(proposer, Hybrid) else proposer
    training = max(1, room * runtime.devices.executor.slots)
    if isinstance(asked, LocalProposer) or not isinstance(asked, ModelProposer):
        return training  # a model in this process would take what trainings are to have
    if asked.model.name.startswith("cassette:"):
        return 1
    return training + room + 1


def in_lanes(runtime: Runtime, trial: Callable[[], None], *, is_one: bool = False) -> NoReturn:
    """Bring one ``trial`` after the other to its end, in as many lanes as there is use for: that
    changes with the nodes of a cluster, and with the memory that is free.

    Args:
        is_one: whether one after the other is what is wanted.

    Raises:
        Stopped: as the last lane did. Whatever else one raises ends the others, and is raised.
    """
    runtime.devices.see_room()
    if is_one or runtime.settings.sequential:
        while True:
            trial()
            runtime.after_trial()
    running: set[int] = set()
    threads: list[threading.Thread] = []
    stopped: list[Stopped] = []
    failed: list[BaseException] = []

    def grow() -> None:
        if stopped or failed or runtime.stop.is_set():
            return
        new = [number for number in range(lanes_for(runtime)) if number not in running]
        running.update(new)
        runtime.lanes.quick |= set(new)  # before the first of them looks who is to come
        for number in new:
            threads.append(threading.Thread(target=lane, args=(number,), daemon=True))
            threads[-1].start()

    def lane(number: int) -> None:
        try:
            with runtime.lanes.lane(number):
                while number < lanes_for(runtime):
                    _bring(runtime, trial)
                    grow()
                running.discard(number)
        except Stopped as reason:
            stopped.append(reason)
        except BaseException as error:  # noqa: BLE001 - it is raised again where all are awaited
            failed.append(error)
            runtime.stop.set()

    runtime.campaign.note_seconds = LOOK_SECONDS
    grow()
    for thread in threads:  # of which there may be more meanwhile
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
            try:
                with runtime.lanes.beside():
                    runtime.lanes.wake() if runtime.stop.is_set() else runtime.devices.look()
                    runtime.campaign.write_notes()
                    runtime.tell()
                    grow()
            except Exception as error:  # noqa: BLE001 - as in a lane: all are awaited first
                failed.append(error)
                runtime.stop.set()
    try:
        runtime.campaign.note_seconds = 0.0
        runtime.campaign.write_notes(last=True)
        runtime.tell()
    finally:
        raise failed[0] if failed else stopped[-1]


def _bring(runtime: Runtime, trial: Callable[[], None]) -> None:
    """Bring one trial to its end, or wait for another lane's verdict if there is nothing to try."""
    state = runtime.campaign.state
    ended = len(state.ended)
    try:
        trial()
    except NothingLeft:
        if not runtime.lanes.trials:
            raise
        runtime.lanes.until(
            runtime.lanes.over,
            lambda: len(state.ended) > ended or bool(state.queue) or not runtime.lanes.trials,
        )
    else:
        runtime.after_trial()
