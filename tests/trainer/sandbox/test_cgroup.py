"""Control groups: the machine's own where there are any, and a folder that mimics version 2."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trainer.sandbox import cgroup
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.client import ForkServer
from trainer.sandbox.wire import Channel
from trainer.training.machine import PROGRAM

pytestmark = pytest.mark.process

ROOT = Path(cgroup.__file__).parents[2]


@pytest.fixture
def group():
    group = cgroup.create()
    if not group.folders:
        pytest.skip("no control group may be made here")
    yield group
    group.remove()


def holds(group: Cgroup, *names: str) -> None:
    if not any((folder / name).exists() for folder in group.folders for name in names):
        pytest.skip(f"no writable group here has {' or '.join(names)}")


def waits(*command: str, keep: list[int] | None = None) -> tuple["subprocess.Popen[bytes]", int]:
    """A process that does nothing before it has read a byte; returns where to write it."""
    read, write = os.pipe()
    code = f"import os; os.read({read}, 1)\n" + "\n".join(command)
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[read, *(keep or [])])
    os.close(read)
    return process, write


def test_a_daemon_of_a_daemon_is_a_member_and_is_killed(group) -> None:
    told, tell = os.pipe()
    process, write = waits(
        "import time",
        "if os.fork(): os._exit(0)",
        "os.setsid()",
        "if os.fork(): os._exit(0)",
        f"os.write({tell}, str(os.getpid()).encode())",
        "time.sleep(1000)",
        keep=[tell],
    )
    group.add(process.pid)
    os.write(write, b"x")
    assert process.wait() == 0
    pid = int(os.read(told, 20))
    for fd in (told, tell, write):
        os.close(fd)
    assert group.members() == {pid}
    assert group.kill() == 1
    assert group.members() == set()


def test_memory_that_is_in_no_resident_size_is_held(group) -> None:
    holds(group, "memory.max", "memory.limit_in_bytes")
    group.limit(200)
    assert group.out_of_memory() == 0
    process, write = waits(
        "fd = os.memfd_create('x')", "for _ in range(400): os.write(fd, b'x' * (1 << 20))"
    )
    group.add(process.pid)
    os.write(write, b"x")
    assert process.wait() == -signal.SIGKILL
    os.close(write)
    assert group.out_of_memory() == 1
    group.limit(2000)  # up again, too
    process, write = waits("x = b'x' * (400 << 20)")
    group.add(process.pid)
    os.write(write, b"x")
    assert process.wait() == 0
    os.close(write)


def test_tasks_are_held(group, monkeypatch) -> None:
    holds(group, "pids.max")
    monkeypatch.setattr(cgroup, "MAX_TASKS", 10)
    group.limit(2000)
    process, write = waits(
        "import signal, time",
        "try:",
        "    for _ in range(20):",
        "        if os.fork() == 0: time.sleep(1000)",
        "except BlockingIOError:",
        "    os._exit(7)",
    )
    group.add(process.pid)
    os.write(write, b"x")
    assert process.wait() == 7
    os.close(write)
    assert group.kill() == 9


def test_a_frozen_group_computes_nothing_and_goes_on(group) -> None:
    holds(group, "cgroup.freeze")
    told, tell = os.pipe()
    process, write = waits(
        "os.fork()", "os.fork()", f"os.write({tell}, b'.')", "while True: pass", keep=[tell]
    )
    group.add(process.pid)
    os.write(write, b"x")
    for _ in range(4):
        os.read(told, 1)
    members = group.members()
    assert len(members) == 4

    assert group.freeze(time.monotonic() + 60) == members
    seconds = used(members)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        assert used(members) == seconds
    group.thaw()
    while used(members) < seconds + 0.1:
        assert group.members() == members

    group.freeze(time.monotonic() + 60)
    assert group.kill() == 4
    assert process.wait() == -signal.SIGKILL
    for fd in (told, tell, write):
        os.close(fd)


def used(pids: set[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def test_a_removed_group_is_gone(group) -> None:
    group.remove()
    assert not any(folder.exists() for folder in group.folders)


def test_the_next_one_removes_what_a_killed_process_left(group) -> None:
    code = """
import os, subprocess, sys
from trainer.sandbox import cgroup
group = cgroup.create()
left = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
group.add(left.pid)
print(left.pid, group.folders[0], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    pid, folder = done.stdout.split()
    assert psutil.Process(int(pid)).name() == "sleep"
    assert Path(folder).exists()

    with_sweep = cgroup.create()

    assert not Path(folder).exists()
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"
    assert all(folder.exists() for folder in (*group.folders, *with_sweep.folders))  # both live
    with_sweep.remove()


def test_the_servers_children_are_members_and_its_end_removes_the_group(group) -> None:
    server = ForkServer(PROGRAM, "spawn")
    channel, theirs = Channel.pair()
    with theirs:
        pid = server.spawn("train", [theirs.fileno()])
    assert pid in server.cgroup.members()
    assert server.pid not in server.cgroup.members()
    server.close()
    channel.close()
    assert not any(folder.exists() for folder in server.cgroup.folders)


class TestMimicked:
    """Version 2 with controllers, as files: this says what is written, not what comes of it."""

    @pytest.fixture
    def mimicked(self, tmp_path) -> Cgroup:
        group = cgroup.create([tmp_path, tmp_path / "missing"])
        (folder,) = group.folders
        assert folder.parent == tmp_path and folder.is_dir()
        for name in ("cgroup.procs", "cgroup.kill", "memory.max", "memory.swap.max", "pids.max"):
            (folder / name).write_text("")
        return group

    def test_limits(self, mimicked) -> None:
        mimicked.limit(3)
        (folder,) = mimicked.folders
        assert (folder / "memory.max").read_text() == str(3 << 20)
        assert (folder / "memory.swap.max").read_text() == "0"
        assert (folder / "pids.max").read_text() == "4096"
        assert not (folder / "memory.limit_in_bytes").exists()

    def test_kill(self, mimicked, monkeypatch) -> None:
        (folder,) = mimicked.folders
        written = []

        def kernel(file: Path, value: str) -> None:
            written.append((file.name, value))
            if file.name == "cgroup.kill":
                (folder / "cgroup.procs").write_text("")

        with subprocess.Popen(["sleep", "1000"]) as process:
            mimicked.add(process.pid)
            assert mimicked.members() == {process.pid}
            monkeypatch.setattr(cgroup, "_write", kernel)
            assert mimicked.kill() == 1
            assert process.wait() == -signal.SIGKILL
        assert written == [("pids.max", "0"), ("cgroup.kill", "1")]

    def test_freeze(self, mimicked) -> None:
        (folder,) = mimicked.folders
        mimicked.add(4711)
        assert mimicked.freeze(time.monotonic() + 60) == set()  # it cannot
        (folder / "cgroup.freeze").write_text("0")
        (folder / "cgroup.events").write_text("populated 1\nfrozen 0\n")
        with pytest.raises(TimeoutError):
            mimicked.freeze(time.monotonic())
        assert (folder / "cgroup.freeze").read_text() == "1"
        mimicked.thaw()
        assert (folder / "cgroup.freeze").read_text() == "0"
        (folder / "cgroup.events").write_text("populated 1\nfrozen 1\n")
        assert mimicked.freeze(time.monotonic() + 60) == {4711}

    def test_what_may_not_be_written_does_not_freeze(self, mimicked, monkeypatch) -> None:
        (folder,) = mimicked.folders
        (folder / "cgroup.freeze").write_text("0")
        (folder / "cgroup.events").write_text("populated 1\nfrozen 0\n")
        monkeypatch.setattr(cgroup, "_write", lambda file, value: None)
        assert mimicked.freeze(time.monotonic() + 60) == set()

    def test_another_users_folders_are_let_be(self, tmp_path) -> None:
        (tmp_path / "autoresearch-4711-1-1-0").mkdir()  # of another namespace of processes
        (tmp_path / "system.slice").mkdir()
        cgroup.create([tmp_path])
        assert (tmp_path / "autoresearch-4711-1-1-0").exists()
        assert (tmp_path / "system.slice").exists()


def test_where_none_may_be_made_all_goes_on_without(tmp_path) -> None:
    none = cgroup.create([tmp_path / "missing"])
    assert none == Cgroup(())
    none.limit(100)
    none.add(os.getpid())
    assert none.members() == set() and none.kill() == 0
    assert none.freeze(0.0) == set()
    none.thaw()
    none.remove()
