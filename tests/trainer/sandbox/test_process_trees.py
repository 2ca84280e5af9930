"""Killing whole trees of processes, dying with a parent, and counting what is below one."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from trainer.sandbox import tree

pytestmark = pytest.mark.process

ROOT = Path(tree.__file__).parents[2]


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


TREE = """
import os, signal, sys, time
from trainer.sandbox import tree
tree.become_subreaper()

def respawn():
    while True:
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.01)
            os._exit(0)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.002)

spared = os.fork()
if spared == 0:
    time.sleep(1000)
for _ in range(6):
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(1, b".")
        respawn()
while len(os.read(int(sys.argv[1]), 1)) == 0:
    pass
def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
killed = tree.kill_descendants(reap, (spared,))
import psutil
left = [p.pid for p in psutil.Process().children(recursive=True)]
print("killed" if killed >= 6 else "missed", left == [spared])
tree.kill_descendants(reap)
print(psutil.Process().children())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")
def test_a_tree_that_respawns_is_emptied():
    go_read, go_write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", TREE, str(go_read)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        pass_fds=[go_read],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"......"  # all six are respawning
        os.write(go_write, b"x")
        out = process.stdout.read().decode()
    os.close(go_read)
    os.close(go_write)
    assert out.splitlines() == ["killed True", "[]"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a parent-death signal")
def test_dies_with_its_parent():
    code = """
    import os, signal, sys, time
    from trainer.sandbox import tree
    me = os.getpid()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        tree.die_with_parent(me)
        os.write(write, b"x")
        time.sleep(1000)
    os.read(read, 1)
    print(pid, flush=True)
    os.kill(me, signal.SIGKILL)
    """
    pid = int(run(code).stdout)
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)
        psutil.Process(pid)


def test_does_not_outlive_a_parent_that_is_gone_already():
    assert run("from trainer.sandbox import tree; tree.die_with_parent(1 << 30)").returncode == 1


def test_usage_counts_all_below():
    code = "import os, time; x = bytearray(50 << 20); os.fork(); os.write(1, b'.'); time.sleep(99)"
    before = tree.usage(os.getpid())
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b".."
        used = tree.usage(os.getpid())
        assert used.processes == before.processes + 2
        assert used.memory_mb > before.memory_mb + 100
        if sys.platform == "linux":
            shared = tree.usage(os.getpid(), enough_mb=0.0)
            assert shared.memory_mb < used.memory_mb - 40
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
    assert tree.usage(1 << 30).processes == 0
