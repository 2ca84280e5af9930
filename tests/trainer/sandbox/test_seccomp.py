"""The filter's program, run in a small machine of the test's own, and then for real."""

import errno
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.sandbox import seccomp

ALLOW, EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM
ENOSYS, KILL = 0x00050000 | errno.ENOSYS, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7
NUMBERS = """
socket 41 198, connect 42 203, bind 49 200, listen 50 201, sendmsg 46 211, sendmmsg 307 269,
unshare 272 97, setns 308 268, ptrace 101 117, process_vm_readv 310 270,
process_vm_writev 311 271, pidfd_getfd 438 438, kcmp 312 272, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, mount 165 40, bpf 321 280,
perf_event_open 298 241, userfaultfd 323 282, keyctl 250 219, add_key 248 217,
timer_create 222 107, request_key 249 218, shmget 29 194, shmat 30 196, shmctl 31 195,
semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192, msgget 68 186, msgsnd 69 189,
msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181, chmod 90 -, fchmod 91 52,
fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, lsetxattr 189 6,
fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
setxattrat 463 463, removexattrat 466 466, file_setattr 469 469, setpriority 141 140,
ioprio_set 251 30, inotify_add_watch 254 27, fanotify_init 300 262, fadvise64 221 223,
readahead 187 213, mincore 27 232, cachestat 451 451, process_madvise 440 440,
open_by_handle_at 304 265, prlimit64 302 261, sched_setparam 142 118,
sched_setscheduler 144 119, sched_setaffinity 203 122, sched_setattr 314 274, clone 56 220,
clone3 435 435, ioctl 16 29, fcntl 72 25, madvise 28 233, prctl 157 167, sendto 44 206
"""
"""Name and number on x86_64 and aarch64: a second table, which the filter's must agree with."""


def numbers(machine: str) -> dict[str, int]:
    rows = [row.split() for row in NUMBERS.split(",")]
    column = {"x86_64": 1, "aarch64": 2}[machine]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def decide(
    machine: str,
    audit: int,
    number: int,
    arg0: int = 0,
    arg1: int = 0,
    arg2: int = 0,
    arg4: int = 0,
) -> int:
    """Run the program on one system call, as the kernel does (BPF of seccomp(2))."""
    code = seccomp.program(machine)
    data = struct.pack("<IIQ6Q", number, audit, 0, arg0, arg1, arg2, 0, arg4, 0)
    lines = list(struct.iter_unpack("=HBBI", code))
    accumulator = position = 0
    while True:
        operation, jump_true, jump_false, k = lines[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif operation == 0x06:
            return k
        else:
            holds = {
                0x15: accumulator == k,
                0x35: accumulator >= k,
                0x45: bool(accumulator & k),
            }[operation]
            position += jump_true if holds else jump_false


@pytest.mark.parametrize(("machine", "audit"), [("x86_64", X86), ("aarch64", ARM)])
class TestProgram:
    def test_what_is_denied(self, machine, audit):
        known = numbers(machine)
        denied = [known[name] for name in seccomp._DENIED if name in known]
        assert len(denied) > 60
        for number in denied:
            assert decide(machine, audit, number) == EPERM
        assert decide(machine, audit, known["clone3"]) == ENOSYS

    def test_every_call_is_in_the_second_table_once(self, machine, audit):
        known = numbers(machine)
        assert len(set(known.values())) == len(known)
        with_an_argument = {"clone", "clone3", "ioctl", "fcntl", "madvise", "prctl", "sendto"}
        assert {*seccomp._DENIED, *seccomp._OWN, *with_an_argument} == numbers("x86_64").keys()

    def test_another_architecture_is_killed(self, machine, audit):
        assert decide(machine, 0x40000003, 1) == KILL

    def test_read_write_and_thread_are_allowed(self, machine, audit):
        thread = 0x3D0F00  # what libc asks for
        for number in (0, 1, 63, 64):
            if number not in numbers(machine).values():
                assert decide(machine, audit, number) == ALLOW
        assert decide(machine, audit, numbers(machine)["clone"], thread) == ALLOW

    @pytest.mark.parametrize("flag", [17, 26, 27, 28, 29, 30, 25])
    def test_a_namespace_is_not(self, machine, audit, flag):
        assert decide(machine, audit, numbers(machine)["clone"], 1 << flag | 17) == EPERM

    def test_limits_and_schedules_are_set_for_oneself_only(self, machine, audit):
        for number in (numbers(machine)[name] for name in seccomp._OWN):
            assert decide(machine, audit, number, 0) == ALLOW
            assert decide(machine, audit, number, 4711) == EPERM

    def test_nobody_hides_from_the_watch(self, machine, audit):
        number = numbers(machine)["prctl"]
        assert decide(machine, audit, number, 4) == EPERM
        assert decide(machine, audit, number, 15) == ALLOW

    def test_files_take_no_marks(self, machine, audit):
        known = numbers(machine)
        for number, usual, marks in (
            (known["ioctl"], 0x5401, seccomp._MARKING_IOCTLS),
            (known["fcntl"], 2, seccomp._MARKING_FCNTLS),
        ):
            assert decide(machine, audit, number, 3, usual) == ALLOW
            for mark in marks:
                assert decide(machine, audit, number, 3, mark) == EPERM

    def test_memory_is_given_back_but_no_file_is_put_out_of_the_cache(self, machine, audit):
        number = numbers(machine)["madvise"]
        for advice, answer in ((4, ALLOW), (8, ALLOW), (14, ALLOW), (20, EPERM), (21, EPERM)):
            assert decide(machine, audit, number, arg2=advice) == answer

    def test_what_is_sent_has_no_address(self, machine, audit):
        number = numbers(machine)["sendto"]
        assert decide(machine, audit, number, 3, arg4=0) == ALLOW
        for address in (0x1000, 1 << 32):
            assert decide(machine, audit, number, 3, arg4=address) == EPERM


@pytest.mark.parametrize("name", ["opem", "fork_off"])
def test_no_denial_is_dropped_for_want_of_a_number(monkeypatch, name):
    monkeypatch.setattr(seccomp, "_DENIED", (name,))
    for machine in ("x86_64", "aarch64"):
        with pytest.raises(LookupError, match=name):
            seccomp.program(machine)


def test_a_call_that_x86_lacks_is_no_reason_to_drop_it(monkeypatch):
    monkeypatch.setattr(seccomp, "_DENIED", ("arm_fadvise64_64",))
    with pytest.raises(LookupError, match="arm_fadvise64_64"):
        seccomp.program("x86_64")


def test_x32_numbers_are_refused():
    assert decide("x86_64", X86, 0x40000000 | 41) == EPERM


INSTALLED = """
import ctypes, fcntl, os, socket, subprocess, sys, threading
from trainer.sandbox import seccomp
seccomp.drop_capabilities()
seccomp.install()
C = ctypes.CDLL(None, use_errno=True)
def refused(attempt):
    try:
        return attempt() == -1
    except OSError:
        return True
file = sys.argv[1]
doors = {
    "socket": lambda: socket.socket(),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: socket.socketpair()[0].connect(file),
    "address": lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b"x", file),
    "descriptor": lambda: socket.send_fds(socket.socketpair()[0], [b"x"], [0]),
    "lease": lambda: fcntl.fcntl(os.open(file, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK),
    "watch": lambda: C.inotify_add_watch(C.inotify_init(), file.encode(), 0xFFF),
    "evict": lambda: os.posix_fadvise(os.open(file, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED),
    "unshare": lambda: C.unshare(0x10000000),
    "chmod": lambda: os.chmod(file, 0o777),
    "utime": lambda: os.utime(file),
    "chown": lambda: os.chown(file, 0, 0),
    "shmget": lambda: C.shmget(4711, 4096, 0o1666),
    "prlimit": lambda: C.prlimit(os.getppid(), 7, None, ctypes.create_string_buffer(16)),
    "affinity": lambda: os.sched_setaffinity(os.getppid(), {0}),
    "own affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "policy": lambda: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0)),
    "hide": lambda: C.prctl(4, 0, 0, 0, 0),
    "io_uring": lambda: C.syscall(425, 1, ctypes.create_string_buffer(120)),
    "setns": lambda: C.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0),
    "hostname": lambda: C.sethostname(b"x", 1),
    "mount": lambda: C.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "chroot": lambda: C.chroot(b"/"),
}
print([name for name, attempt in doors.items() if not refused(attempt)])
one, other = socket.socketpair()
one.send(b"x")
assert other.recv(1) == b"x"
thread = threading.Thread(target=int)
thread.start()
thread.join()
subprocess.run(["true"], check=True)
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.mkdir(file + "-folder")
print("works")
"""


@pytest.mark.skipif(not seccomp.supported(), reason="no table for this machine")
@pytest.mark.process
def test_installed_it_refuses_and_ordinary_work_goes_on(tmp_path):
    file = tmp_path / "file"
    file.touch()
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED, str(file)],
        capture_output=True,
        text=True,
        cwd=Path(seccomp.__file__).parents[2],
        check=False,
    )
    assert done.stdout.splitlines() == ["[]", "works"], done.stderr
