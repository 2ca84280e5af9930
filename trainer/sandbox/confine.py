"""OS confinement of a child, and its limits.

The child confines itself while it has one thread, before it gets the candidate's source. It uses
Landlock or Seatbelt and a seccomp filter through nono-py, and ``seccomp`` for what they leave open.
A level is one of

    os       confined by the operating system
    process  a separate process, but the OS cannot confine it here
    off      not confined, because the user asked for that
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import UserError
from trainer.presets import SCRATCH_ROOM_MB
from trainer.sandbox import seccomp

MAX_SCRATCH_FILES = 20_000
MAX_OPEN_FILES = 4096
"""In one process; this also limits the time that the parent needs to inspect them."""


class SandboxError(UserError):
    """Confinement was required, but it is not available."""


@dataclass(frozen=True)
class Confinement:
    """How a child is to confine itself, see ``confine_process``."""

    level: str
    readable: tuple[str, ...]
    scratch: str | None
    scratch_mb: int = SCRATCH_ROOM_MB
    """Bound on a file that it writes."""


def available() -> tuple[str, str]:
    """The level that ``auto`` gives on this machine, and why."""
    try:
        import nono_py  # it takes a tenth of a second
    except ImportError:
        return "process", "nono-py cannot be imported"
    info = nono_py.support_info()
    if not info.is_supported:
        return "process", str(info.details)
    if sys.platform == "linux":
        if not seccomp.supported():
            return "process", "system-calls has no table for this processor, or is missing"
        abi = nono_py.detect_abi()
        if not abi.has_scoping:
            return "process", f"Landlock {abi.version} is too old: Linux 6.12 or newer is needed"
    return "os", str(info.details)


def level_for(isolation: str) -> str:
    """The level for ``auto``, ``require`` or ``off``.

    Raises:
        SandboxError: ``require`` where the OS cannot confine.
    """
    if isolation == "off":
        return "off"
    level, why = available()
    if isolation == "require" and level != "os":
        raise SandboxError(f"--isolation require: this machine cannot confine ({why})")
    return level


def confine_process(
    level: str, read: Iterable[str], scratch: str | None, scratch_mb: int = SCRATCH_ROOM_MB
) -> None:
    """Confine the calling process irreversibly; it must have only one thread.

    Args:
        level: ``os`` confines; the other levels only set limits.
        read: files and directories that stay readable, devices that stay usable.
        scratch: the one directory that stays writable; None for nothing.
        scratch_mb: bound on each file that it writes.

    Raises:
        SandboxError: the process has threads already, or the OS refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = scratch_mb << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    files = min(MAX_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if level != "os":
        return
    import nono_py

    if sys.platform == "linux" and len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        raise SandboxError("a thread was started before confinement; it would stay unconfined")
    caps = nono_py.CapabilitySet()
    caps.block_network()
    for path in read:
        with contextlib.suppress(FileNotFoundError, ValueError):
            mode = Path(path).stat().st_mode
            grant = caps.allow_path if stat.S_ISDIR(mode) else caps.allow_file
            # Landlock allows ioctls on a device only together with writing.
            device = stat.S_ISCHR(mode)
            grant(path, nono_py.AccessMode.READ_WRITE if device else nono_py.AccessMode.READ)
    if scratch is not None:
        caps.allow_path(scratch, nono_py.AccessMode.READ_WRITE)
    try:
        if sys.platform == "linux":
            nono_py.apply_seccomp(caps)
            seccomp.drop_capabilities()
            seccomp.install(processes=scratch is not None)
        else:
            nono_py.apply(caps)
    except (RuntimeError, OSError) as error:
        raise SandboxError(f"the OS refused to confine a training: {error}") from None


def disk_mb(folder: Path) -> float:
    """Size of everything below ``folder``, by the disk blocks that it takes.

    Infinite if it cannot be determined: more than ``MAX_SCRATCH_FILES`` entries, or a folder that
    is too deep or that this process may not read.
    """
    blocks = entries = 0
    queue = [str(folder)]
    while queue:
        try:
            with os.scandir(queue.pop()) as listing:
                for entry in listing:
                    entries += 1
                    if entries > MAX_SCRATCH_FILES:
                        return math.inf
                    with contextlib.suppress(FileNotFoundError):
                        blocks += entry.stat(follow_symlinks=False).st_blocks
                        if entry.is_dir(follow_symlinks=False):
                            queue.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return math.inf
    return blocks * 512 / 2**20
