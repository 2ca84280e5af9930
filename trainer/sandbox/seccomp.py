"""A seccomp filter for what Landlock and nono-py leave open.

Landlock governs files, TCP and signals; nono-py's own filter adds UDP, netlink, vsock and io_uring.
This filter refuses what a confined child could still use:

- sockets of every family, except a socketpair; its ends cannot send to another address, and cannot
  carry descriptors, in which memory could be hidden;
- new namespaces (``unshare``, ``setns``, ``clone`` with a namespace flag);
- access to another process (``ptrace``, ``process_vm_*``, ``pidfd_getfd``), and setting its limits;
- choosing processors, beyond those that its worker has or another's;
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

import contextlib
import ctypes
import errno
import os
import platform
import struct

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

_ARCHITECTURES = {"x86_64": ("x86_64", 0xC000003E), "aarch64": ("arm64", 0xC00000B7)}
"""By machine: the name of its table of system calls, and its number in ``struct seccomp_data``."""
_DENIED = (
    *("socket", "connect", "bind", "listen", "sendmsg", "sendmmsg"),
    *("unshare", "setns", "mount", "open_by_handle_at"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("bpf", "perf_event_open", "userfaultfd", "timer_create", "setpriority", "ioprio_set"),
    "sched_setaffinity",
    *("keyctl", "add_key", "request_key", "shmget", "shmat", "shmctl"),
    *("semget", "semop", "semctl", "semtimedop"),
    *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "file_setattr"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    *("inotify_add_watch", "fanotify_init"),
    *("fadvise64", "readahead", "mincore", "cachestat"),
)
_OWN = ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setattr")
"""Calls whose first argument is a process id: allowed only with 0, the caller itself."""
_FORKS = ("fork", "vfork")
"""Calls that can only create a process."""
_X32_BIT = 0x40000000
_NUMBERS: dict[str, dict[str, int]] = {}
"""Numbers of system calls, by machine and name; empty without the package that has them."""
with contextlib.suppress(ImportError):
    from system_calls import syscalls

    for _machine, (_table, _) in _ARCHITECTURES.items():  # once, and not in each child
        _NUMBERS[_machine] = syscalls().load_arch_table(_table)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.system() == "Linux" and platform.machine() in _NUMBERS


def program(machine: str, *, processes: bool = True) -> bytes:
    """The filter for ``machine`` as BPF instructions, 8 bytes each.

    Args:
        processes: whether the child may start processes; it may always start threads.

    Raises:
        KeyError: a call has no number; without it, the filter would leave that call open.
    """
    _, audit = _ARCHITECTURES[machine]
    numbers = _NUMBERS[machine]

    def op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump_true, jump_false, k)

    def on(call: str, *body: bytes) -> list[bytes]:
        """What to do at a system call; nothing, if only x86_64 has it."""
        if call not in numbers and call in _NUMBERS["x86_64"]:
            return []
        return [op(_JEQ, numbers[call], 0, len(body)), *body]

    refuse, allow = op(_RET, _ERRNO | errno.EPERM), op(_RET, _ALLOW)

    def refuse_values(call: str, argument: int, values: tuple[int, ...]) -> list[bytes]:
        """Refuse a call whose argument is one of ``values``."""
        checks = [op(_JEQ, value, len(values) - i, 0) for i, value in enumerate(values)]
        return on(call, op(_LD_ABS, argument), *checks, allow, refuse)

    def refuse_unless_zero(call: str, *words: int) -> list[bytes]:
        """Refuse a call unless all the words at these offsets are zero."""
        checks = [line for word in words for line in (op(_LD_ABS, word), op(_JEQ, 0, 1, 0), refuse)]
        return on(call, *checks, allow)

    lines = [op(_LD_ABS, _ARCH), op(_JEQ, audit, 1, 0), op(_RET, _KILL), op(_LD_ABS, _NR)]
    if machine == "x86_64":  # x32 reaches the same calls under other numbers
        lines += [op(_JGE, _X32_BIT, 0, 1), refuse]
    for call in _DENIED if processes else (*_DENIED, *_FORKS):
        lines += on(call, refuse)
    lines += on("clone3", op(_RET, _ERRNO | errno.ENOSYS))
    lines += refuse_values("ioctl", _ARG1, _MARKING_IOCTLS)
    lines += refuse_values("fcntl", _ARG1, _MARKING_FCNTLS)
    lines += refuse_values("madvise", _ARG2, _EVICTING_ADVICE)
    lines += refuse_values("prctl", _ARG0, (_PR_SET_DUMPABLE,))
    lines += refuse_unless_zero("sendto", _ARG4, _ARG4 + 4)  # no address: only to its peer
    for call in _OWN:
        lines += refuse_unless_zero(call, _ARG0)
    one_process = [] if processes else [op(_JSET, _CLONE_THREAD, 1, 0), refuse]
    lines += on(
        "clone", op(_LD_ABS, _ARG0), op(_JSET, _NAMESPACES, 0, 1), refuse, *one_process, allow
    )
    lines.append(allow)
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
