"""A test that is not marked cannot start Python, however it tries; one that is marked can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

TESTS = """
import subprocess
import sys
import threading

import pytest

from trainer.sandbox.client import ForkServer


def start():
    subprocess.run([sys.executable, "-c", "pass"], check=True)


@pytest.fixture
def started():
    start()


def test_refused_directly():
    start()


def test_refused_in_a_fixture(started):
    pass


def test_refused_though_it_looks_away():
    try:
        start()
    except BaseException:
        pass


def test_refused_in_a_thread():
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()


def test_refused_where_a_server_is_warm():
    ForkServer.spawn(None, "train", [])


def test_others_may_start_git():
    subprocess.run(["git", "--version"], check=True)


@pytest.mark.process
def test_marked_may(started):
    start()


@pytest.mark.slow
def test_slow_is_marked(started):
    start()
"""
SETTINGS = "[pytest]\nmarkers =\n    process\n    slow\n"


def run(folder: Path, *options: str) -> dict[str, str]:
    """How each test of ``TESTS`` ended."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(SETTINGS)
    plain = ["-n", "0", "-rA", "-p", "marking", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "--rootdir", str(folder), *options, str(folder)],
        cwd=Path(__file__).parent,
        env={"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"},
        capture_output=True,
        text=True,
    )
    told = (line.split() for line in done.stdout.splitlines() if "::test_" in line)
    return {line[1].partition("::")[2]: line[0] for line in told if line[0].isupper()}


def test_only_a_marked_test_may_start_python(tmp_path: Path) -> None:
    ends = run(tmp_path)
    assert len(ends) == 8
    for name, end in ends.items():
        wrong = name.startswith("test_refused")
        assert end in (("FAILED", "ERROR") if wrong else ("PASSED",)), name


def test_what_is_slow_is_left_out_too(tmp_path: Path) -> None:
    ends = run(tmp_path, "-m", "not process", "-k", "not refused")
    assert ends == {"test_others_may_start_git": "PASSED"}
