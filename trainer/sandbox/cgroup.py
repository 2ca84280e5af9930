"""A control group around untrusted processes, wherever this user may create one.

The kernel then enforces the limits on total memory and tasks at every moment; the parent only
checks four times a second. The kernel also counts memory that no process has open, and knows every
process of the group, even if it was orphaned. The module uses version 2 (``memory.max``,
``pids.max``, ``cgroup.kill``, ``cgroup.freeze``) and the memory and pids hierarchies of version 1;
a system may have several, each with some of these files. Where none is writable, as in most
containers, the group has no folders, and only the parent watches the processes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.sandbox.owner import namespace, started

MAX_TASKS = 4096
"""Limit on all processes' threads, against fork bombs; torch and a compiler start far fewer."""
_PATIENCE_SECONDS = 10.0
_ATTEMPTS = 100
_LOOK_SECONDS = 0.0003
_PREFIX = "autoresearch-"
_OUT_OF_MEMORY = ("memory.events", "memory.oom_control")
_KILLS = re.compile(r"\boom_kill (\d+)")
_numbers = itertools.count()


@dataclass(frozen=True)
class Cgroup:
    """One group, as a folder in each hierarchy that has it; no folder if there is no hierarchy."""

    folders: tuple[Path, ...] = ()

    def limit(self, memory_mb: int) -> None:
        """Limit all members together to ``memory_mb`` of memory and ``MAX_TASKS`` tasks."""
        size = str(memory_mb << 20)
        for folder in self.folders:
            for name, value in (
                ("memory.max", size),
                ("memory.swap.max", "0"),
                ("memory.oom.group", "1"),
                # In version 1 the order of the two limits depends on whether they rise or fall.
                ("memory.memsw.limit_in_bytes", "-1"),
                ("memory.limit_in_bytes", size),
                ("memory.memsw.limit_in_bytes", size),
                ("pids.max", str(MAX_TASKS)),
            ):
                _write(folder / name, value)

    def out_of_memory(self) -> int:
        """How many members the kernel has killed so far because the limit was reached."""
        files = [folder / name for folder in self.folders for name in _OUT_OF_MEMORY]
        return sum(int(count) for file in files for count in _KILLS.findall(_read(file)))

    def add(self, pid: int) -> None:
        """Make a process a member; processes that it starts later are members, too."""
        for folder in self.folders:
            _write(folder / "cgroup.procs", str(pid))

    def members(self) -> set[int]:
        """Processes of the group that have not ended."""
        return set().union(*map(_members, self.folders))

    def freeze(self, deadline: float) -> set[int]:
        """Stop all members until ``thaw``; returns those seen frozen, none if that is impossible.

        Args:
            deadline: of ``time.monotonic``.

        Raises:
            TimeoutError: the kernel has not stopped all of them by then.
        """
        for folder in self.folders:
            if not (folder / "cgroup.freeze").exists():
                continue
            _write(folder / "cgroup.freeze", "1")
            while "frozen 1" not in _read(folder / "cgroup.events"):
                if _read(folder / "cgroup.freeze").strip() != "1":
                    return set()
                if time.monotonic() > deadline:
                    raise TimeoutError("the control group does not freeze")
                time.sleep(_LOOK_SECONDS)
            return _members(folder)
        return set()

    def thaw(self) -> None:
        """Let all members go on."""
        for folder in self.folders:
            _write(folder / "cgroup.freeze", "0")

    def kill(self) -> int:
        """Kill all members until none is left; returns how many there were.

        Gives up after a while if the kernel itself cannot end a process (it waits for a device).
        """
        killed: set[int] = set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (members := self.members()) and time.monotonic() < deadline:
            killed |= members
            for folder in self.folders:
                _write(folder / "pids.max", "0")  # no new processes
                _write(folder / "cgroup.kill", "1")
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        return len(killed)

    def remove(self) -> None:
        """Kill all members and remove the group; if that fails, a later ``create`` removes it."""
        self.kill()
        for folder in self.folders:
            for _ in range(_ATTEMPTS):  # it is busy until dead processes have been reaped
                with contextlib.suppress(OSError):
                    folder.rmdir()
                if not folder.exists():
                    break
                time.sleep(0.005)


def create(roots: Iterable[Path] | None = None) -> Cgroup:
    """A new group beside or below this process's own; it has no folders where none may be created.

    This also removes the groups that a killed process has left, with all their members.

    Args:
        roots: the folder of each hierarchy to create it in; None for this machine's.
    """
    name = f"{_PREFIX}{namespace()}-{os.getpid()}-{started(os.getpid())}-{next(_numbers)}"
    made: list[Path] = []
    for root in _roots() if roots is None else roots:
        with contextlib.suppress(OSError):
            _sweep(root)
            (root / name).mkdir()
            made.append(root / name)
    return Cgroup(tuple(made))


def _roots() -> Iterator[Path]:
    """Where this process may create a group: its own folder in each hierarchy that is of use.

    Version 2 gives controllers only to groups in a folder that holds no processes itself. So the
    parent folder is used if it has been set up for that (a systemd slice).
    """
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        paths = {controller: path for _, names, path in own for controller in names.split(",")}
        for fields in map(str.split, mounts):
            kind, *_, options = fields[fields.index("-") + 1 :]
            wanted = {"cgroup2": {""}, "cgroup": {"memory", "pids"} & set(options.split(","))}
            for controller in sorted(wanted.get(kind, set()) & paths.keys())[:1]:
                mount = Path(fields[4])
                folder = mount / os.path.relpath(paths[controller], fields[3])
                if not folder.is_dir() or ".." in folder.parts:  # mounted from elsewhere
                    folder = mount
                above = folder.parent / "cgroup.subtree_control"
                if not controller and folder != mount and "memory" in _read(above).split():
                    folder = folder.parent
                yield folder


def _sweep(root: Path) -> None:
    """Remove the groups in ``root`` whose creator was killed before it could remove them."""
    for folder in root.glob(f"{_PREFIX}{namespace()}-*"):
        pid, then = folder.name.split("-")[2:4]
        if started(int(pid)) != then:
            Cgroup((folder,)).remove()


def _members(folder: Path) -> set[int]:
    return set(map(int, _read(folder / "cgroup.procs").split())) - {0}


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _write(file: Path, value: str) -> None:
    """Write a file if the hierarchy has it; errors do not matter, since the parent watches too."""
    if file.exists():
        with contextlib.suppress(OSError):
            file.write_text(value)
