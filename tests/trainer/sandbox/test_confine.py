"""Confinement, limits and the killing of process trees, on real processes."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import botocore
import numpy
import psutil
import pytest
import torch

from trainer.data.prepare import cache_dir
from trainer.sandbox import confine, readable, tree
from trainer.sandbox.confine import SandboxError

ROOT = Path(confine.__file__).parents[2]
CONFINED = pytest.mark.skipif(
    confine.available()[0] != "os", reason=f"cannot confine here: {confine.available()[1]}"
)


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def test_level_for(monkeypatch):
    monkeypatch.setattr(confine, "available", lambda: ("process", "no Landlock"))
    assert confine.level_for("off") == "off"
    assert confine.level_for("auto") == "process"
    with pytest.raises(SandboxError, match=r"--isolation require.*no Landlock"):
        confine.level_for("require")

    monkeypatch.setattr(confine, "available", lambda: ("os", ""))
    assert confine.level_for("require") == confine.level_for("auto") == "os"


def test_readable_has_torch_and_nothing_of_the_rest():
    granted = {path.resolve() for path in readable.granted()}

    def is_granted(path: str | Path) -> bool:
        path = Path(path).resolve()
        return not granted.isdisjoint([path, *path.parents])

    assert is_granted(torch.__file__)
    assert is_granted(numpy.__file__)
    assert is_granted(textwrap.__file__)
    assert not is_granted(botocore.__file__)
    assert not is_granted(psutil.__file__)
    assert not is_granted(confine.__file__)
    assert not is_granted(Path.home())
    assert not is_granted(cache_dir())
    assert not is_granted("/etc/passwd")
    assert not is_granted("/tmp/x")


@CONFINED
def test_confined(tmp_path):
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    outside.mkdir()
    done = run(
        """
        import os, sys
        from pathlib import Path
        from trainer.sandbox import readable
        from trainer.sandbox import confine
        scratch, outside = map(Path, sys.argv[1:])
        confine.confine("os", [str(p) for p in readable.granted()], str(scratch))
        (scratch / "file").write_text("x")
        for attempt in (
            lambda: (outside / "file").write_text("x"),
            lambda: os.listdir(outside),
            lambda: os.kill(os.getppid(), 0),
            lambda: (scratch / "file").rename(outside / "file"),
            lambda: os.link("/etc/passwd", scratch / "link"),
        ):
            try:
                attempt()
            except OSError:
                continue
            print("open")
        import wave, xml.dom.minidom
        print("ended")
        """,
        str(scratch),
        str(outside),
    )
    assert done.stdout.splitlines() == ["ended"], done.stderr
    assert not list(outside.iterdir())


@CONFINED
def test_nothing_is_writable_without_scratch(tmp_path):
    done = run(
        """
        import sys
        from pathlib import Path
        from trainer.sandbox import readable
        from trainer.sandbox import confine
        confine.confine("os", [str(p) for p in readable.granted()], None)
        try:
            Path(sys.argv[1]).write_text("x")
        except OSError:
            print("shut")
        """,
        str(tmp_path / "file"),
    )
    assert done.stdout == "shut\n", done.stderr


@CONFINED
def test_a_process_with_threads_is_not_confined():
    done = run(
        """
        import threading
        from trainer.sandbox import confine
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        try:
            confine.confine("os", [], None)
        except confine.SandboxError as error:
            print(error)
        """
    )
    assert "a thread was started before confinement" in done.stdout, done.stderr


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


def test_disk(tmp_path):
    assert confine.disk_mb(tmp_path) < 0.1
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * (2 << 20))
    (tmp_path / "link").symlink_to("/")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert 2.0 <= confine.disk_mb(tmp_path) < 2.5
    assert confine.disk_mb(tmp_path / "nothing") == 0.0


def test_disk_that_cannot_be_told_is_infinite(tmp_path, monkeypatch):
    monkeypatch.setattr(confine, "MAX_SCRATCH_FILES", 5)
    for i in range(6):
        (tmp_path / str(i)).touch()
    assert confine.disk_mb(tmp_path) == float("inf")


def test_disk_too_deep_is_infinite(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert confine.disk_mb(tmp_path) == float("inf")


@pytest.mark.skipif(os.geteuid() == 0, reason="root looks into every folder")
def test_disk_behind_a_shut_door_is_infinite(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    try:
        assert confine.disk_mb(tmp_path) == float("inf")
    finally:
        (tmp_path / "shut").chmod(stat.S_IRWXU)
