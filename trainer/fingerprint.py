"""The conditions of a measured number: hardware, software, data, and the measuring code."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainer.data.prepare import Corpus
from trainer.training.machine import Setting


def of(setting: Setting, probe: Mapping[str, Any], corpus: Corpus | None) -> dict[str, Any]:
    """Everything, apart from source, seed and budget, that must match to reproduce a number.

    Args:
        probe: what ``Machine.probe`` reports about device and torch.
        corpus: the data; None if the measurement failed before the data was prepared.
    """
    return {
        "processor": processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "threads": setting.threads,
        "device": setting.device,
        "device_name": probe["name"],
        "torch": probe["torch"],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "text": f"{corpus.source} {corpus.version}" if corpus else "",
        "data": corpus.fingerprint if corpus else "",
        "trainer": trainer_digest(),
    }


def processor() -> str:
    """The processor's name; on virtual machines, different processors may have the same name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """The processor's vector and matrix instructions, by which torch chooses its kernels."""
    kinds = ("avx", "amx", "fma")
    return " ".join(sorted(flag for flag in _cpuinfo("flags").split() if flag.startswith(kinds)))


@cache
def _cpuinfo(field: str) -> str:
    """A field of the first processor; empty if the system does not give it (not Linux, or ARM)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


@cache
def trainer_digest() -> str:
    """Hash of the measuring code: numbers measured under different hashes are not comparable."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.name != "train.py":
            name = path.relative_to(folder).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
