"""A seccomp filter for what Landlock and nono-py leave open.

Landlock governs files, TCP and signals; nono-py's own filter adds UDP, netlink, vsock and io_uring.
This filter refuses what a confined child could still use:

- sockets of every family, except a socketpair; its ends cannot send to another address, and cannot
  carry descriptors, in which memory could be hidden;
- new namespaces (``unshare``, ``setns``, ``clone`` with a namespace flag);
- access to another process (``ptrace``, ``process_vm_*``, ``pidfd_getfd``), and setting its limits
  or its share of the processors;
- hiding from the parent's watch (``PR_SET_DUMPABLE``);
- everything that outlives a process and could carry text from a scoring to an audit or to a later
  training: System V and POSIX message queues, System V memory and semaphores, keys; the modes,
  owners, times, attributes, hints and leases of files, which Landlock does not govern; and which
  parts of files are in the system's cache;
- watching a folder that cannot be read;
- timers that send a signal of choice (``timer_create``): SIGCONT would wake a stopped training.

``clone3`` is answered with ENOSYS, since its flags lie behind a pointer that a filter cannot read;
libc then uses ``clone``.

The program is classic BPF over ``struct seccomp_data`` (seccomp(2)). It is installed for the
calling thread only, so a child must confine itself before it starts another thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_LD_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARG0, _ARG1, _ARG2, _ARG4 = 0, 4, 16, 24, 32, 48
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2

_CLONE_THREAD = 0x00010000
# CLONE_NEWTIME (0x80) lies within the exit-signal bits of clone(2) and works with unshare only.
_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x20000

# Requests of ioctl(2) that set the flags, attributes, version, verity, key and label of a file.
_MARKING_IOCTLS = (0x40086602, 0x401C5820, 0x40087602, 0x40806685, 0x800C6613, 0x41009432)
# F_SETLEASE, F_NOTIFY, F_SET_RW_HINT, F_SET_FILE_RW_HINT: they stay with a file, too.
_MARKING_FCNTLS = (1024, 1026, 1036, 1038)
# MADV_COLD, MADV_PAGEOUT: they evict a file from the system's cache.
_EVICTING_ADVICE = (20, 21)
_PR_SET_DUMPABLE = 4

_CAPABILITY_VERSION = 0x20080522
# Without these, root could no longer read a library that belongs to another user.
_KEPT_CAPABILITIES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@dataclass(frozen=True)
class _Table:
    """Numbers of one architecture's system calls."""

    audit: int
    clone: int
    clone3: int
    forks: tuple[int, ...]
    """Calls that can only create a process."""
    ioctl: int
    fcntl: int
    madvise: int
    prctl: int
    sendto: int
    own: dict[str, int]
    """Calls whose first argument is a process id: allowed only with 0, the caller itself."""
    denied: dict[str, int]


_X86_64 = _Table(
    audit=0xC000003E,
    clone=56,
    clone3=435,
    forks=(57, 58),
    ioctl=16,
    fcntl=72,
    madvise=28,
    prctl=157,
    sendto=44,
    own={
        "prlimit64": 302,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "sched_setaffinity": 203,
        "sched_setattr": 314,
    },
    denied={
        "socket": 41,
        "connect": 42,
        "bind": 49,
        "listen": 50,
        "sendmsg": 46,
        "sendmmsg": 307,
        "unshare": 272,
        "setns": 308,
        "ptrace": 101,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "pidfd_getfd": 438,
        "kcmp": 312,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "mount": 165,
        "bpf": 321,
        "perf_event_open": 298,
        "userfaultfd": 323,
        "keyctl": 250,
        "add_key": 248,
        "timer_create": 222,
        "request_key": 249,
        "shmget": 29,
        "shmat": 30,
        "shmctl": 31,
        "semget": 64,
        "semop": 65,
        "semctl": 66,
        "semtimedop": 220,
        "msgget": 68,
        "msgsnd": 69,
        "msgrcv": 70,
        "msgctl": 71,
        "mq_open": 240,
        "mq_unlink": 241,
        "chmod": 90,
        "fchmod": 91,
        "fchmodat": 268,
        "fchmodat2": 452,
        "chown": 92,
        "fchown": 93,
        "lchown": 94,
        "fchownat": 260,
        "utime": 132,
        "utimes": 235,
        "futimesat": 261,
        "utimensat": 280,
        "setxattr": 188,
        "lsetxattr": 189,
        "fsetxattr": 190,
        "removexattr": 197,
        "lremovexattr": 198,
        "fremovexattr": 199,
        "setxattrat": 463,
        "removexattrat": 466,
        "file_setattr": 469,
        "setpriority": 141,
        "ioprio_set": 251,
        "inotify_add_watch": 254,
        "fanotify_init": 300,
        "fadvise64": 221,
        "readahead": 187,
        "mincore": 27,
        "cachestat": 451,
        "process_madvise": 440,
        "open_by_handle_at": 304,
    },
)
_AARCH64 = _Table(
    audit=0xC00000B7,
    clone=220,
    clone3=435,
    forks=(),
    ioctl=29,
    fcntl=25,
    madvise=233,
    prctl=167,
    sendto=206,
    own={
        "prlimit64": 261,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122,
        "sched_setattr": 274,
    },
    denied={
        "socket": 198,
        "connect": 203,
        "bind": 200,
        "listen": 201,
        "sendmsg": 211,
        "sendmmsg": 269,
        "unshare": 97,
        "setns": 268,
        "ptrace": 117,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "pidfd_getfd": 438,
        "kcmp": 272,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "mount": 40,
        "bpf": 280,
        "perf_event_open": 241,
        "userfaultfd": 282,
        "keyctl": 219,
        "add_key": 217,
        "timer_create": 107,
        "request_key": 218,
        "shmget": 194,
        "shmat": 196,
        "shmctl": 195,
        "semget": 190,
        "semop": 193,
        "semctl": 191,
        "semtimedop": 192,
        "msgget": 186,
        "msgsnd": 189,
        "msgrcv": 188,
        "msgctl": 187,
        "mq_open": 180,
        "mq_unlink": 181,
        "fchmod": 52,
        "fchmodat": 53,
        "fchmodat2": 452,
        "fchown": 55,
        "fchownat": 54,
        "utimensat": 88,
        "setxattr": 5,
        "lsetxattr": 6,
        "fsetxattr": 7,
        "removexattr": 14,
        "lremovexattr": 15,
        "fremovexattr": 16,
        "setxattrat": 463,
        "removexattrat": 466,
        "file_setattr": 469,
        "setpriority": 140,
        "ioprio_set": 30,
        "inotify_add_watch": 27,
        "fanotify_init": 262,
        "fadvise64": 223,
        "readahead": 213,
        "mincore": 232,
        "cachestat": 451,
        "process_madvise": 440,
        "open_by_handle_at": 265,
    },
)
_TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64}
_X32_BIT = 0x40000000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Whether there is a table of system calls for this machine."""
    return platform.system() == "Linux" and platform.machine() in _TABLES


def program(machine: str, *, processes: bool = True) -> bytes:
    """The filter for ``machine`` as BPF instructions, 8 bytes each.

    Args:
        processes: whether the child may start processes; it may always start threads.
    """
    table = _TABLES[machine]

    def op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump_true, jump_false, k)

    refuse, allow = op(_RET, _ERRNO | errno.EPERM), op(_RET, _ALLOW)

    def refuse_values(number: int, argument: int, values: tuple[int, ...]) -> list[bytes]:
        """Refuse a call whose argument is one of ``values``."""
        checks = [op(_JEQ, value, len(values) - i, 0) for i, value in enumerate(values)]
        body = [op(_LD_ABS, argument), *checks, allow, refuse]
        return [op(_JEQ, number, 0, len(body)), *body]

    def refuse_unless_zero(number: int, *words: int) -> list[bytes]:
        """Refuse a call unless all the words at these offsets are zero."""
        checks = [line for word in words for line in (op(_LD_ABS, word), op(_JEQ, 0, 1, 0), refuse)]
        return [op(_JEQ, number, 0, len(checks) + 1), *checks, allow]

    lines = [op(_LD_ABS, _ARCH), op(_JEQ, table.audit, 1, 0), op(_RET, _KILL), op(_LD_ABS, _NR)]
    if machine == "x86_64":  # x32 reaches the same calls under other numbers
        lines += [op(_JGE, _X32_BIT, 0, 1), refuse]
    for number in table.denied.values():
        lines += [op(_JEQ, number, 0, 1), refuse]
    lines += [op(_JEQ, table.clone3, 0, 1), op(_RET, _ERRNO | errno.ENOSYS)]
    lines += refuse_values(table.ioctl, _ARG1, _MARKING_IOCTLS)
    lines += refuse_values(table.fcntl, _ARG1, _MARKING_FCNTLS)
    lines += refuse_values(table.madvise, _ARG2, _EVICTING_ADVICE)
    lines += refuse_values(table.prctl, _ARG0, (_PR_SET_DUMPABLE,))
    lines += refuse_unless_zero(table.sendto, _ARG4, _ARG4 + 4)  # no address: only to its peer
    for number in table.own.values():
        lines += refuse_unless_zero(number, _ARG0)
    one_process = [] if processes else [op(_JSET, _CLONE_THREAD, 1, 0), refuse]
    if not processes:
        for number in table.forks:
            lines += [op(_JEQ, number, 0, 1), refuse]
    lines += [op(_JEQ, table.clone, 0, 3 + len(one_process)), op(_LD_ABS, _ARG0)]
    lines += [op(_JSET, _NAMESPACES, 0, 1), refuse, *one_process, allow]
    return b"".join(lines)


def drop_capabilities() -> None:
    """Drop the capabilities that root has beyond an ordinary user, except to read files.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable of capabilities 0 to 31, then of 32 to 63.
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    effective, permitted = struct.unpack_from("=II", sets)
    kept = [effective & _KEPT_CAPABILITIES, permitted & _KEPT_CAPABILITIES, 0, 0, 0, 0]
    if libc.capset(header, struct.pack("=6I", *kept)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def install(*, processes: bool = True) -> None:
    """Apply the filter irreversibly to the calling thread and all that it starts.

    Args:
        processes: whether it may start processes.

    Raises:
        OSError: the kernel refuses.
    """
    code = program(platform.machine(), processes=processes)
    libc = ctypes.CDLL(None, use_errno=True)
    packed = _Program(len(code) // 8, code)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(packed), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl: {os.strerror(number)}")
