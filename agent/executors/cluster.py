"""Joins a Ray cluster, and brings to it the source of what measures there."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import agent
import trainer
from trainer.errors import UserError
from trainer.untrusted import one_line

REACH_SECONDS = 5.0
"""For something to answer at an address; Ray itself would try for ten minutes."""


class RayError(UserError):
    """The cluster cannot be used; the message says why, and what to do."""


def connect(address: str) -> None:
    """
    Raises:
        RayError: there is no such cluster, or no Ray here.
    """
    try:
        import ray
    except ImportError:
        raise RayError('--ray needs Ray: pip install -e ".[ray]", here and on each node') from None
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        with tempfile.TemporaryDirectory() as shipped:  # as a working_dir: Ray adds none of its own
            for package in (agent, trainer):
                source = Path(str(package.__file__)).parent
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, Path(shipped, source.name), ignore=ignore)
            ray.init(
                address=address,
                runtime_env={"working_dir": shipped},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        # What Ray says of a lost node is forty lines on stdout, and there is no option for it.
        ray._private.worker._worker_logs_enabled = False
        signal.signal(signal.SIGTERM, on_term)  # Ray ends the process; a campaign ends in order
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RayError(
            f"--ray {address}: {one_line(error, 300)}; start a cluster (docs/cluster.md), or "
            "measure on this machine: --workers 1"
        ) from None


def _reach(address: str) -> None:
    """See that something answers, where the address has a port.

    Raises:
        ConnectionError: nothing does.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConnectionError(f"nothing answers at {host}:{port} ({said})") from None
