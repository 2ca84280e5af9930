"""Confinement, and the limits of what is written, on real processes."""

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
from trainer.sandbox import confine, readable
from trainer.sandbox.confine import SandboxError

pytestmark = [pytest.mark.process, pytest.mark.sandbox]

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


@pytest.mark.parametrize("module", ["nono_py", "system_calls"])
def test_without_a_package_that_confines_it_goes_on_as_a_process(module):
    done = run(
        """
        import sys
        sys.modules[sys.argv[1]] = None
        from trainer.sandbox import confine
        print(confine.level_for("auto"))
        try:
            confine.level_for("require")
        except confine.SandboxError as error:
            print(error)
        """,
        module,
    )
    level, refusal = done.stdout.splitlines() or ["", done.stderr]
    assert level == "process"
    assert "--isolation require: this machine cannot confine (" in refusal
    assert module.replace("_", "-") in refusal


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
        confine.confine_process("os", [str(p) for p in readable.granted()], str(scratch))
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
        confine.confine_process("os", [str(p) for p in readable.granted()], None)
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
            confine.confine_process("os", [], None)
        except confine.SandboxError as error:
            print(error)
        """
    )
    assert "a thread was started before confinement" in done.stdout, done.stderr


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
