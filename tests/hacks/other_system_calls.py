"""Tries the calls by which a process reaches beyond itself."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import errno
import os
import sys

C = ctypes.CDLL(None, use_errno=True)
CALLS = {
    "io_uring_setup": (425, 8, ctypes.create_string_buffer(120)),
    "io_uring_enter": (426, 0, 1, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0),
    "bpf": (321, 0, ctypes.create_string_buffer(128), 128),
    "perf_event_open": (298, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "userfaultfd": (323, 0),
    "fanotify_init": (300, 0, 0),
    "mount": (165, b"none", b".", b"no such file system", 0, 0),
    "syslog": (103, 3, ctypes.create_string_buffer(100), 100),
    "iopl": (172, 3),
    "keyctl": (250, 0, -3, 1),
    "open_by_handle_at": (304, -100, ctypes.create_string_buffer(128), 0),
    "setpriority": (141, 0, 0, -10),
    "nice by scheduler": (144, 0, 1, (1).to_bytes(4, "little")),
    "ptrace me": (101, 0, 0, 0, 0),
    "ptrace seize": (101, 0x4206, os.getppid(), 0, 0),
    "process_vm_writev": (311, os.getpid(), 0, 0, 0, 0, 0),
    "prlimit": (302, os.getppid(), 7, 0, ctypes.create_string_buffer(16)),
    "chmod": (90, os.fsencode(os.__file__), 0o644),
    "utimes": (235, os.fsencode(os.__file__), 0),
    "setxattr": (188, os.fsencode(os.__file__), b"user.x", b"x", 1, 0),
    "x32 socket": (0x40000000 + 41, 1, 1, 0),
}


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        for name, arguments in CALLS.items():
            answer, number = C.syscall(*arguments), ctypes.get_errno()
            if answer != -1 or number not in (errno.EPERM, errno.ENOSYS):
                print("open:", name, answer, number)
    return honest(session)
