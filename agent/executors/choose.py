"""Opens the executor that the settings ask for."""

from __future__ import annotations

from agent.executors.base import Executor
from agent.executors.local import Local
from agent.executors.workers import Workers, shares
from trainer.training.job import OnEvent


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
