"""What a confined child may reach: devices on a tree that mimics a GPU's, and their ioctls."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trainer.sandbox import confine, readable

ROOT = Path(readable.__file__).parents[2]
CONFINED = pytest.mark.skipif(
    confine.available()[0] != "os" or sys.platform != "linux", reason="needs Landlock"
)


@pytest.fixture
def gpu(tmp_path: Path) -> Path:
    """A machine with two GPUs, its files empty."""
    files = """dev/nvidia0 dev/nvidia1 dev/nvidiactl dev/nvidia-uvm dev/nvidia-uvm-tools
    dev/nvidia-caps/nvidia-cap1 dev/sda dev/mem proc/driver/nvidia/version
    sys/module/nvidia/version sys/module/nvidia_uvm/version sys/module/ext4/version
    sys/bus/pci/devices/x sys/devices/pci0000:00/x etc/nvidia/rc etc/passwd
    usr/local/nvidia/lib64/libcuda.so.1"""
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_devices_of_cuda(gpu: Path) -> None:
    found = {str(path.relative_to(gpu)) for path in readable.devices("cuda", gpu)}
    assert found == {
        "dev/nvidia0",
        "dev/nvidia1",
        "dev/nvidiactl",
        "dev/nvidia-uvm",
        "dev/nvidia-uvm-tools",
        "dev/nvidia-caps/nvidia-cap1",
        "proc/driver/nvidia",
        "sys/module/nvidia",
        "sys/module/nvidia_uvm",
        "sys/bus/pci",
        "sys/devices/pci0000:00",
        "etc/nvidia",
        "usr/local/nvidia",
    }


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_measurements_are_granted_none(gpu: Path, device: str) -> None:
    assert readable.devices(device, gpu) == []
    assert not [
        path for path in readable.granted(device) if "nvidia" in str(path).partition("/lib")[0]
    ]


IOCTL = """
import array, fcntl, sys
from trainer.sandbox import confine
from trainer.sandbox.readable import granted
granted = [str(path) for path in granted()]
confine.confine_process("os", [path for path in granted if path != sys.argv[1]], None)
RNDGETENTCNT = 0x80045200
for name in ("/dev/urandom", "/dev/random"):
    try:
        with open(name, "rb") as device:
            fcntl.ioctl(device, RNDGETENTCNT, array.array("i", [0]))
        print("works")
    except PermissionError:
        print("refused")
"""


@CONFINED
@pytest.mark.parametrize(
    ("without", "expected"), [("", "works refused"), ("/dev/urandom", "refused refused")]
)
@pytest.mark.process
def test_a_granted_device_answers_ioctls_and_no_other_does(without: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IOCTL), without],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout.split() == expected.split(), done.stderr


@pytest.mark.parametrize(
    ("folder", "granted"),
    [
        ("libexec/gcc/x86_64-redhat-linux/15", "libexec/gcc/x86_64-redhat-linux/15"),
        ("bin", "bin/cc1plus"),  # beside programs of all kinds
    ],
)
def test_a_compiler_is_asked_where_its_own_programs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, granted: str
) -> None:
    own = tmp_path / folder / "cc1plus"
    (tmp_path / "bin").mkdir()
    own.parent.mkdir(parents=True, exist_ok=True)
    own.touch()
    compiler = tmp_path / "bin" / "g++"
    compiler.write_text(f"#!/bin/sh\ncase $1 in *=cc1plus) echo {own} ;; *) echo cc1 ;; esac\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    found = [path for path in readable.compilers() if path.is_relative_to(tmp_path)]

    assert found == [compiler, tmp_path / granted]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
@pytest.mark.process  # asks the compilers
def test_the_compiler_of_this_machine_has_its_programs_granted() -> None:
    answer = subprocess.run(["g++", "-print-prog-name=cc1plus"], capture_output=True, text=True)
    program = Path(answer.stdout.strip()).resolve()
    assert not {program, *program.parents}.isdisjoint(readable.granted())


def test_a_compiler_is_granted_by_its_programs_alone() -> None:
    found = readable.granted()
    assert Path("/usr/bin") not in found and Path("/bin") not in found
    assert not {"ssh", "git", "curl", "sudo"} & {path.name for path in found}
