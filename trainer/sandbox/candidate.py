"""A child that runs candidate code: confined before it gets any, and trusted by no process.

Its role (``training.child``, ``scoring.child``) decides what it does with the candidate's source.
The parent of either treats its messages as data only.
"""

from __future__ import annotations

import linecache
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch

from trainer.sandbox import confine
from trainer.sandbox.wire import Channel, Gone
from trainer.session import ContractError

_FILENAME = "train.py"


def confine_and_work(control: Channel, work: Callable[[Channel, dict[str, Any]], None]) -> int:
    """Confine this process, take a job and do ``work``; returns the exit status."""
    confinement = control.receive()
    scratch = confinement["scratch"]
    try:
        confine.confine_process(confinement["level"], confinement["readable"], scratch)
    except confine.SandboxError as error:
        control.send({"event": "unconfined", "reason": str(error)})
        return 1
    control.send({"event": "confined"})
    if scratch is not None:  # where temporary files and relative paths can be written
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        os.chdir(scratch)
    job = control.receive(want_fds=True)
    torch.set_num_threads(job["threads"])
    try:
        work(control, job)
    except Gone:
        return 1
    except BaseException as error:  # noqa: BLE001  the candidate may raise anything at all
        control.send(_failure(error))
        return 1
    return 0


def _failure(error: BaseException) -> dict[str, Any]:
    kind = "crashed"
    refused = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    if refused or isinstance(error, MemoryError | torch.OutOfMemoryError):
        kind = "oom"
    elif isinstance(error, ContractError):
        kind = "invalid"
    frames = traceback.format_exception(error)
    return {
        "event": "failed",
        "kind": kind,
        "error": f"{type(error).__name__}: {error}"[:2000],
        "traceback": "".join(frames)[-8000:],
    }


def load_module(source: str) -> types.ModuleType:
    """Execute a train.py as the module ``train``, so that tracebacks can show its lines."""
    module = types.ModuleType("train")
    module.__file__ = _FILENAME
    sys.modules["train"] = module
    lines = source.splitlines(keepends=True)
    linecache.cache[_FILENAME] = (len(source), None, lines, _FILENAME)
    exec(compile(source, _FILENAME, "exec"), module.__dict__)
    return module
