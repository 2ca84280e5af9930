"""What ``pip install .``, not editable, leaves on a machine; needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("agent", "trainer", "prompts", "pyproject.toml", "README.md", "LICENSE")
CLONED = ("agent", "trainer", "prompts", "program.md", ".gitignore")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel of this tree would be unpacked into."""
    folder = tmp_path_factory.mktemp("installation")
    copy(BUILT_FROM, folder / "tree")  # a build leaves files behind, and takes in what it finds
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w"]
    command = [sys.executable, "-m", *build, str(folder), str(folder / "tree")]
    subprocess.run(command, check=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site-packages")
    return folder / "site-packages"


def copy(names: tuple[str, ...], folder: Path) -> None:
    folder.mkdir()
    for name in names:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)


def files(root: Path, package: str) -> set[Path]:
    found = (path.relative_to(root) for path in (root / package).rglob("*") if path.is_file())
    return {path for path in found if path.parent.name != "__pycache__"}


def texts(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def test_everything_that_is_read_beside_the_code_is_installed(installed: Path) -> None:
    for package in ("agent", "trainer"):
        assert files(ROOT, package) <= files(installed, package)
    templates = texts(ROOT / "prompts")
    assert "known/h100.md.j2" in templates
    assert texts(installed / "agent/prompts") == templates


def test_nothing_else_is_put_beside_other_packages(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names == {"agent", "trainer"}


def test_an_installation_runs_a_campaign_in_a_clone(installed: Path, tmp_path: Path) -> None:
    """With -P the folder it is started in is not searched for modules, so it is the wheel's."""
    clone = tmp_path / "clone"
    copy(CLONED, clone)
    for package in ("agent", "trainer"):  # of the clone only the text of train.py may be needed
        for path in (clone / package).rglob("*.py"):
            if path != clone / "trainer/train.py":
                path.write_text("raise AssertionError('code of the clone was run')\n")
    shutil.rmtree(clone / "prompts")
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    git = ("git", "-c", "user.name=A User", "-c", "user.email=user@example.org")
    run(*git, "init", "-q", "-b", "main")
    run(*git, "add", "-A")
    run(*git, "commit", "-qm", "a newcomer's clone")
    python = (sys.executable, "-P", "-m")
    shortly = ("--trials", "1", "--budget", "6000tok", "--keep", "greedy")
    said = run(*python, "agent", "run", "--llm", "none", *shortly)
    assert "1 trial is done" in said
