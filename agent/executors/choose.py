"""Opens the executor that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.executors.base import Executor
from agent.executors.local import Local
from agent.executors.workers import Workers, WorkersError, shares
from trainer.errors import UserError
from trainer.training.job import OnEvent

Opens = Callable[[Mapping[str, Any]], Executor]
"""Opens an executor for a campaign with these settings, which the caller closes."""


def open_devices(workers: int, ray: str, tell: OnEvent) -> Executor:
    """An executor, which the caller closes.

    Args:
        workers: how many of this machine, or of each node without a device of its own.
        ray: address of a cluster, ``auto``, or "" for this machine.
        tell: is told of nodes.

    Raises:
        WorkersError, RayError: there are not as many, or no such cluster.
    """
    if ray:
        from agent.executors.ray import Nodes

        return Nodes(ray, tell, workers)
    return Workers(shares(workers)) if workers > 1 else Local()


def open_for_run(
    wanted: Mapping[str, Any],
    command_line: Mapping[str, Any],
    last: Mapping[str, Any],
    tell: OnEvent,
) -> Executor:
    """What a run measures with, which the caller closes; see ``open_devices``.

    Args:
        wanted: its settings.
        command_line: those given there, None for those not given.
        last: settings that earlier command lines gave, and that hold for this run, too.
    """
    try:
        found = open_devices(wanted["workers"], wanted["ray"], tell)
    except WorkersError as error:
        if command_line.get("workers") is not None:
            raise
        who = "remembered from an earlier run" if "workers" in last else "what program.md says"
        raise WorkersError(f"{error}; that is {who}: say otherwise with --workers N") from None
    if wanted["sequential"] and found.slots > 1:
        text = f"one of {found.slots} devices is used: sequential does one trial after the other"
        tell({"event": "note", "text": text})
    return found


def address(last: Mapping[str, Any], workers: int | None, ray: str | None) -> str:
    """Of the cluster to measure on, "" for this machine: the last run's unless an option says
    otherwise. ``workers`` without ``ray`` are this machine's."""
    if ray is not None:
        return ray
    return "" if workers is not None else str(last.get("ray") or "")


def open_again(
    last: Mapping[str, Any], tell: OnEvent, workers: int | None = None, ray: str | None = None
) -> Executor:
    """What a campaign's last run measured with, so that what is measured after it is measured under
    the same conditions; see ``address`` and ``open_devices``.

    Args:
        last: the settings of that run.
    """
    count = int(last.get("workers") or 1) if workers is None else workers
    try:
        return open_devices(count, address(last, workers, ray), tell)
    except UserError as error:
        if workers is not None or ray is not None:
            raise
        raise UserError(
            f"{error}; the campaign's last run measured there: say where else with --ray ADDRESS, "
            "or with --workers N on this machine"
        ) from None
