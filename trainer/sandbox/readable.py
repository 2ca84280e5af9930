"""What a confined child may access: files, folders and devices, as a list of paths.

The child may only read the files and folders on the list. It may also write to the character
devices, because Landlock ties their ioctls to writing. The list has no text of a corpus, nothing
from a home folder, and no distributions except those that torch needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib")
_FILES = (
    *("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom"),
    *("/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self"),
    *("/usr/include", sysconfig.get_path("include")),
)
_COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++")
_TOOLS = ("as", "ld", "ar", "ldconfig")
"""What torch.compile and Triton start besides."""
_OWN_FILES = ("-print-prog-name=cc1", "-print-prog-name=cc1plus", "-print-libgcc-file-name")
"""What a compiler is asked: where the programs and the library are that only it uses."""
_CUDA = (
    *("dev/nvidia[0-9]*", "dev/nvidiactl", "dev/nvidia-modeset", "dev/nvidia-uvm"),
    *("dev/nvidia-uvm-tools", "dev/nvidia-caps/*", "proc/driver/nvidia", "proc/devices"),
    *("sys/module/nvidia*", "sys/bus/pci", "sys/devices/pci*", "sys/devices/system/node"),
    *("etc/nvidia", "usr/share/nvidia", "usr/local/cuda*"),
    # Where containers and NixOS have the driver's libraries.
    *("usr/local/nvidia", "run/opengl-driver", "run/opengl-driver-32"),
)


@cache
def granted(device: str = "cpu") -> tuple[Path, ...]:
    """All that a child that computes on ``device`` (``cpu``, ``mps``, ``cuda``) may access.

    It always includes the compiler, for ``torch.compile``: the compiler can read only what the
    child can read, and its output runs under the same confinement as the child.
    """
    paths = [*_interpreter(), *map(Path, _FILES), *compilers(), *devices(device)]
    paths += _distributions(("torch", "numpy", "safetensors", "packaging"))
    return tuple(path for path in dict.fromkeys(paths) if path.exists())


def _interpreter() -> list[Path]:
    """Directories that hold other distributions are granted entry by entry.

    Landlock cannot exclude parts of a granted directory. Granting entries keeps out the rest of
    site-packages, and with it the corpus.
    """
    prefix = Path(sys.base_prefix)
    skip = {"site-packages", "dist-packages", "test", "__pycache__"}
    return [
        *_entries(Path(sysconfig.get_path("stdlib")), lambda name: name not in skip),
        *_entries(prefix / "lib", lambda name: not name.startswith("python")),
        *(path for folder in _LIBRARIES for path in _entries(Path(folder), _is_no_interpreter)),
        Path(sys.executable).resolve(),
    ]


def _is_no_interpreter(name: str) -> bool:
    return not name.startswith(("python", "pypy"))


def compilers() -> Iterator[Path]:
    """The programs of the compilers that a shell would find here, and what they start."""
    for name in (*_COMPILERS, *_TOOLS):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found is not None:
            yield Path(found).resolve()
            if name in _COMPILERS:
                yield from _own(found)


def _own(compiler: str) -> Iterator[Path]:
    """Where a compiler keeps what only it uses: below /usr/lib, /usr/libexec or anywhere else."""
    for question in _OWN_FILES:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [compiler, question], capture_output=True, text=True, check=True, timeout=10
            )
            file = Path(done.stdout.strip())
            # Of a program that it has not, or finds as a shell would, it says the bare name.
            if file.is_absolute() and file.is_file():
                file = file.resolve()
                has_others = str(file.parent) in (*_LIBRARIES, *os.get_exec_path())
                yield file if has_others else file.parent


def devices(device: str, root: Path = Path("/")) -> list[Path]:
    """What CUDA opens: the driver's device files and the kernel's information about them.

    Taken from NVIDIA's list of what a container needs; not tried on a GPU yet. The driver cannot
    create missing device files from inside (``nvidia-modprobe`` needs rights that a confined child
    has given up), so they must exist before: running ``nvidia-smi`` once creates them.
    """
    if device != "cuda":
        return []
    return [path for pattern in _CUDA for path in sorted(root.glob(pattern))]


def _entries(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if wanted(path.name)]


def _distributions(roots: Iterable[str]) -> list[Path]:
    """Top-level entries of the installed distributions that ``roots`` need, recursively."""
    paths: set[Path] = set()
    seen: set[str] = set()
    queue = list(roots)
    library = [Path(folder).resolve() for folder in {*site.getsitepackages(), *sys.path} if folder]
    while queue:
        name = queue.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(requirement.name)
        for file in distribution.files or ():
            if file.parts[0] not in ("..", "__pycache__") and not file.parts[0].endswith(".pth"):
                paths.add(Path(str(distribution.locate_file(file.parts[0]))).resolve())
    # If a distribution's record names the library folder itself, not all of it may be granted.
    return sorted(path for path in paths if path not in library)
