"""A Ray cluster on this machine, started and stopped by the tests that use it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """With one node, bound to the first processor with all that it starts."""
    ray = pytest.importorskip("ray", reason="--ray needs the extra")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_raylet_start_wait_time_s", "300")  # a busy machine takes long
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_worker_niceness", "0")  # as the tests beside it
        cluster = bound(
            0, lambda: Cluster(True, head_node_args={**SMALL, "include_dashboard": False})
        )
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def add_node(cluster: Any) -> Iterator[Callable[[], Any]]:
    """Adds a node, on the last processor, which the test may kill."""
    yield lambda: bound(-1, lambda: cluster.add_node(**SMALL))
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)


def bound(which: int, start: Callable[[], Any]) -> Any:
    """What ``start`` starts, bound to one of the processors.

    With it Ray takes SIGTERM, which then ends the tests: it is given back.
    """
    own = sorted(os.sched_getaffinity(0))
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        os.sched_setaffinity(0, {own[which]})
        return start()
    finally:
        os.sched_setaffinity(0, own)
        signal.signal(signal.SIGTERM, on_term)
