"""Measures and kills a tree of processes, and makes sure that no process escapes from it.

The memory and the unnamed files of a process are read from /proc. A memfd takes memory even if no
process maps it; an unlinked file takes disk even if no folder lists it. Both are found through what
processes have open or mapped. A descriptor in transit inside a socket would not be found, but a
confined child cannot send one.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MAX_PROCESSES = 64
"""Below one fork server; threads do not count."""
COMPILE_WORKERS = 12
"""Processes in which torch compiles; its own choice is one a core, up to 32. Each may start a
compiler, which starts two more programs: with all these they stay within ``MAX_PROCESSES``."""
KILL_SECONDS = 20.0
"""A killed process ends within this time, if at all: a driver may take seconds to free a device."""
_VFORK_SECONDS = 0.2
MAX_FILES = 20_000
"""Open or mapped files of all processes and threads together."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SHARED_MEMORY = Path("/dev/shm")
_PR_SET_CHILD_SUBREAPER, _PR_SET_PDEATHSIG = 36, 1


class Unkillable(Exception):
    """The kernel does not end a process that was killed; the message names it."""


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Let orphans of this process's children become its own children, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have this process killed when ``parent`` ends in any way; ``parent`` must have one thread.

    (The system sends the signal when the thread that started this process ends.)
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call of prctl
        os._exit(1)


def be_first_to_go() -> None:
    """Let the system kill this process before any trusted process when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def kill_descendants(reap: Callable[[], None], spare: Collection[int] = ()) -> int:
    """Kill all descendants of this process except ``spare``, until none is left.

    Each round first stops all, so that none can fork while the others are killed. ``reap`` collects
    the caller's dead children, whose exit the caller may need. Returns how many were killed.

    Raises:
        Unkillable: some are left after ``KILL_SECONDS``. Such a process waits inside the kernel,
            for a device or a disk, and runs no more code of its own.
    """
    me = psutil.Process()
    deadline = time.monotonic() + KILL_SECONDS
    killed: set[int] = set()
    while True:
        reap()
        # Dead processes count until they are reaped: only then is it known how they ended.
        live = [process for process in me.children(recursive=True) if process.pid not in spare]
        if not live:
            return len(killed)
        if time.monotonic() > deadline:
            raise Unkillable(
                f"{', '.join(map(_shown, live))} still there {KILL_SECONDS:g} s after SIGKILL: the "
                "kernel does not end what waits for a device or a disk; if it stays, restart the "
                "machine"
            )
        _signal(live, signal.SIGSTOP)
        _signal(live, signal.SIGKILL)
        killed.update(process.pid for process in live)
        time.sleep(0.001)


def _shown(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return f"process {process.pid} ({process.status()})"
    return f"process {process.pid}"


def stop(root: int, deadline: float) -> list[psutil.Process]:
    """Stop every process below ``root`` (SIGSTOP); returns them once all are seen stopped.

    Each round stops all first and looks again. A process that starts and ends between two looks is
    not seen; ``processor_seconds`` tells what it used.

    Args:
        deadline: of ``time.monotonic``.

    Raises:
        TimeoutError: a process was still running at the deadline.
    """
    stopped: list[psutil.Process] = []
    again = time.monotonic() + _VFORK_SECONDS
    while True:
        found = below(root)
        if found == stopped and all(is_stopped(process.pid) for process in found):
            return found
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"processes below {root} do not stop")
        if now > again:  # one may wait, unstoppable, for a child between vfork and exec
            resume(found)
            again = now + _VFORK_SECONDS
        _signal(found, signal.SIGSTOP)
        stopped = found


def resume(processes: Iterable[psutil.Process]) -> None:
    """Let processes that ``stop`` has stopped go on (SIGCONT); others with their ids are left."""
    _signal(processes, signal.SIGCONT)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def processor_seconds(root: int, processes: Iterable[psutil.Process]) -> float:
    """Processor time used by ``processes``, and by all that ``root`` and they have waited for."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    with contextlib.suppress(psutil.NoSuchProcess):
        total += sum(psutil.Process(root).cpu_times()[2:4])
    return total


def below(root: int) -> list[psutil.Process]:
    """All descendants of a process; none if it has ended."""
    try:
        return psutil.Process(root).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process can run: each is stopped, traced or dead."""
    if sys.platform != "linux":
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        return True
    return all(_state(thread) in "TtZX" for thread in threads(pid))


def _state(thread: Path) -> str:
    """The letter of a thread's state; "X" (dead) if it has ended."""
    try:
        # Bytes, because a thread may give itself any name.
        return (thread / "stat").read_bytes().rpartition(b") ")[2][:1].decode("ascii", "replace")
    except OSError:
        return "X"


@dataclass(frozen=True)
class TreeUsage:
    """What all descendants of a process hold at one moment."""

    memory_mb: float
    processes: int
    unlinked_mb: float = 0.0
    """Disk taken by files that have no name any more."""


def usage(pid: int, enough_mb: float = math.inf) -> TreeUsage:
    """What all descendants of ``pid`` hold, unnamed files included.

    Resident sizes count a shared page once for each process that shares it. If their sum is more
    than ``enough_mb``, each shared page is divided by its owners (PSS), which takes longer.
    """
    tree = below(pid)
    if sys.platform != "linux":
        return TreeUsage(sum(map(_resident, tree)) / 2**20, len(tree))
    pids = [process.pid for process in tree]
    memory_mb = sum(map(resident, pids)) / 2**20
    if memory_mb > enough_mb:
        memory_mb = sum(map(proportional, pids)) / 2**20
    nameless = file_usage(pids, ancestor=pid)
    # Mapped parts of unnamed files count twice: no honest training gets near the limit by that.
    return TreeUsage(memory_mb + nameless.memory_mb, len(tree), nameless.disk_mb)


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


@dataclass(frozen=True)
class FileUsage:
    """Sizes by allocated blocks; a file counts once, however many processes hold it."""

    memory_mb: float = 0.0
    """memfds, shared anonymous memory, files in /dev/shm."""
    disk_mb: float = 0.0
    """Other files that are open or mapped and have no name any more."""


def file_usage(pids: Iterable[int], ancestor: int) -> FileUsage:
    """What the processes ``pids`` hold, without the files that their trusted ``ancestor`` has open.

    A process that ends meanwhile holds nothing. More than ``MAX_FILES`` files are not inspected but
    count as infinite memory, because inspecting them would delay the parent's check of its clock.
    """
    memory_devices = _memory_devices()
    inherited = {(device, inode) for device, inode, *_ in _files(ancestor)}
    sizes: dict[tuple[int, int], int] = {}
    files = 0
    for pid in pids:
        for device, inode, size, links in _files(pid):
            files += 1
            if files > MAX_FILES:
                return FileUsage(memory_mb=math.inf)
            if (device, inode) not in inherited and (links == 0 or device in memory_devices):
                sizes[device, inode] = max(size, sizes.get((device, inode), 0))
    memory = sum(size for (device, _), size in sizes.items() if device in memory_devices)
    return FileUsage(memory / 2**20, (sum(sizes.values()) - memory) / 2**20)


def _memory_devices() -> frozenset[int]:
    """Devices whose files are memory: that of memfds and shared anonymous memory, and /dev/shm."""
    with os.fdopen(os.memfd_create("probe")) as file:
        found = {os.fstat(file.fileno()).st_dev}
    with contextlib.suppress(OSError):
        found.add(_SHARED_MEMORY.stat().st_dev)
    return frozenset(found)


def _files(pid: int) -> Iterator[tuple[int, int, int, int]]:
    """(device, inode, bytes, links) of the files that a process has open or mapped."""
    for thread in threads(pid):  # each may have descriptors of its own
        with contextlib.suppress(OSError), os.scandir(thread / "fd") as listing:
            for entry in listing:
                with contextlib.suppress(OSError):
                    found = entry.stat()
                    size = found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else 0
                    yield found.st_dev, found.st_ino, size, found.st_nlink
    process = living(pid)
    with contextlib.suppress(OSError), (process / "maps").open("rb") as maps:
        for line in maps:
            if line.endswith(b" (deleted)\n"):
                yield _mapped(Path(f"/proc/{pid}"), line.split(maxsplit=5))


def resident(pid: int) -> int:
    """Bytes of memory that a process has in its address space; 0 when it has ended."""
    try:
        return int((living(pid) / "statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def proportional(pid: int) -> int:
    """As ``resident``, but with each shared page divided by its owners (PSS)."""
    try:
        lines = (living(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return resident(pid)
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def threads(pid: int) -> list[Path]:
    """The folder in /proc of each thread of a process."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def living(pid: int) -> Path:
    """The folder of a thread that has memory: if its first thread ended, the process shows none."""
    for thread in threads(pid):
        with contextlib.suppress(OSError):
            if not (thread / "statm").read_text().startswith("0 "):
                return thread
    return Path(f"/proc/{pid}")


def _mapped(process: Path, fields: list[bytes]) -> tuple[int, int, int, int]:
    """The file of one line of /proc/PID/maps: ``low-high rwxs offset major:minor inode path``."""
    low, high = (int(number, 16) for number in fields[0].split(b"-"))
    major, minor = (int(number, 16) for number in fields[3].split(b":"))
    size = high - low
    # Only root may inspect the file itself; other users have to take the size of the mapping.
    with contextlib.suppress(OSError):
        size = (process / "map_files" / f"{low:x}-{high:x}").stat().st_blocks * 512
    return os.makedev(major, minor), int(fields[4]), size, 0
