"""A child that runs candidate code: confined before it gets any, and trusted by no process.

Its role (``training.child``, ``scoring.child``) decides what it does with the candidate's source.
The parent of either treats its messages as data only.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from trainer.sandbox import confine
from trainer.sandbox.wire import Channel, Gone, record
from trainer.session import ContractError

_FILENAME = "train.py"
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(?:cannot|can't|unable to) allocate (?:\S+ )?memory|_ALLOC_FAILED"
    r"|OutOfMemory|bad_alloc",
    re.IGNORECASE,
)
"""What the system, CUDA, its libraries, HIP, Metal and C++ say; torch has a type for some only."""
_Request = TypeVar("_Request")


def confine_and_work(
    control: Channel, kind: type[_Request], work: Callable[[Channel, _Request], None]
) -> int:
    """Confine this process, take a request and do ``work``; returns the exit status."""
    wanted = record(confine.Confinement, control.receive())
    try:
        confine.confine_process(wanted.level, wanted.readable, wanted.scratch, wanted.scratch_mb)
    except confine.SandboxError as error:
        control.send({"event": "unconfined", "reason": str(error)})
        return 1
    control.send({"event": "confined"})
    if wanted.scratch is not None:  # where temporary files and relative paths can be written
        os.environ["TMPDIR"] = tempfile.tempdir = wanted.scratch
        os.chdir(wanted.scratch)
    request = record(kind, control.receive(want_fds=True))
    try:
        work(control, request)
    except Gone:
        return 1
    except BaseException as error:  # noqa: BLE001  the candidate may raise anything at all
        control.send(_failure(error))
        return 1
    return 0


def _failure(error: BaseException) -> dict[str, Any]:
    kind = "crashed"
    if is_out_of_memory(error):
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an operation failed for lack of memory, the system's or a device's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_OUT_OF_MEMORY.search(str(error)))


def load_module(source: str) -> types.ModuleType:
    """Execute a train.py as the module ``train``, so that tracebacks can show its lines."""
    module = types.ModuleType("train")
    module.__file__ = _FILENAME
    sys.modules["train"] = module
    lines = [f"{line}\n" for line in source.split("\n")]  # form feeds end no line of Python
    linecache.cache[_FILENAME] = (len(source), None, lines, _FILENAME)
    exec(compile(source, _FILENAME, "exec"), module.__dict__)
    return module
