"""Files without a name, held by real processes."""

import contextlib
import mmap
import os
import signal
import subprocess
import sys

import psutil
import pytest

from trainer.sandbox import tree
from trainer.sandbox.tree import file_usage, proportional, resident

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MB = 1 << 20
MEMFD = f"fd = os.memfd_create('x'); [os.write(fd, bytes({MB})) for _ in range(30)]"
FILE = f"""
with tempfile.NamedTemporaryFile(dir=".", delete=False) as file:
    file.write(b"x" * (30 * {MB}))
    file.flush()
    os.unlink(file.name)
    fd = os.dup(file.fileno())
    size = 30 * {MB}
"""


@contextlib.contextmanager
def process(code: str, cwd):
    """One that has run ``code``."""
    code = f"import mmap, os, tempfile\n{code}\nprint('.', end='', flush=True)\nos.read(0, 1)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        yield process.pid
        process.kill()


def sizes(code: str, cwd) -> tuple[float, float]:
    with process(code, cwd) as pid:
        found = file_usage([pid], os.getpid())
    return round(found.memory_mb), round(found.disk_mb)


def test_a_memfd_is_memory(tmp_path) -> None:
    assert sizes(MEMFD, tmp_path) == (30, 0)


def test_a_sparse_memfd_is_as_large_as_what_was_written(tmp_path) -> None:
    assert sizes(f"os.ftruncate(os.memfd_create('x'), {1000 * MB})", tmp_path) == (0, 0)


def test_a_memfd_that_is_mapped_and_closed_is_memory(tmp_path) -> None:
    code = f"{MEMFD}\nx = mmap.mmap(fd, {30 * MB})\nos.close(fd)"
    assert sizes(code, tmp_path) == (30, 0)


def test_shared_memory_is_memory_after_it_has_left_the_resident_size(tmp_path) -> None:
    code = f"""
x = mmap.mmap(-1, {30 * MB})
x.write(bytes({30 * MB}))
x.madvise(mmap.MADV_DONTNEED)
"""
    assert sizes(code, tmp_path) == (30, 0)


def test_an_unlinked_file_is_disk_open_or_mapped(tmp_path) -> None:
    assert sizes(FILE, tmp_path) == (0, 30)
    assert sizes(f"{FILE}\nx = mmap.mmap(fd, size)\nos.close(fd)", tmp_path) == (0, 30)


def test_a_file_with_a_name_is_not_held(tmp_path) -> None:
    assert sizes(FILE.replace("os.unlink(file.name)", ""), tmp_path) == (0, 0)


def test_what_several_hold_counts_once(tmp_path) -> None:
    with process(f"{MEMFD}\nos.fork()", tmp_path) as pid:
        (child,) = psutil.Process(pid).children()
        assert round(file_usage([pid, child.pid], os.getpid()).memory_mb) == 30
        child.kill()


def test_what_the_ancestor_holds_does_not_count(tmp_path) -> None:
    with mmap.mmap(-1, 30 * MB) as memory:
        memory.write(bytes(30 * MB))
        pid = os.fork()
        if pid == 0:
            signal.pause()
        try:
            assert file_usage([pid], os.getpid()).memory_mb < 1
            assert file_usage([pid], 1 << 30).memory_mb >= 30
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_usage_counts_both(tmp_path) -> None:
    before = tree.usage(os.getpid())
    with process(f"{MEMFD}\n{FILE}", tmp_path):
        after = tree.usage(os.getpid())
    assert after.memory_mb - before.memory_mb > 30
    assert round(after.unlinked_mb - before.unlinked_mb) == 30


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert file_usage([1 << 30], os.getpid()).memory_mb == 0


def test_a_process_whose_first_thread_has_ended_is_seen(tmp_path) -> None:
    code = f"""
import ctypes, platform, threading, time
x = bytearray(b"x") * (60 * {MB})
{MEMFD}
exit = {{"x86_64": 60, "aarch64": 93}}[platform.machine()]
def tell():
    while open("/proc/self/statm").read()[:2] != "0 ": time.sleep(0.001)
    print(".", end="", flush=True)
    time.sleep(1000)
threading.Thread(target=tell).start()
ctypes.CDLL(None).syscall(exit, 0)
"""
    with process(code, tmp_path) as pid:
        assert resident(pid) > 60 * MB and proportional(pid) > 60 * MB
        assert round(file_usage([pid], os.getpid()).memory_mb) == 30


def test_what_cannot_be_looked_through_is_too_much(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("trainer.sandbox.tree.MAX_FILES", 10)
    code = "files = [open('/dev/null') for _ in range(20)]"
    with process(code, tmp_path) as pid:
        assert file_usage([pid], os.getpid()).memory_mb == float("inf")
