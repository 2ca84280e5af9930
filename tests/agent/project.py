"""The project as a newcomer has it, and its commands as typed; for the tests of whole runs."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHIPPED = ("agent", "trainer", "prompts", "examples", "program.md", ".gitignore")
RUN = ("run", "--tag", "t", "--budget", "20000tok", "--llm", "none")


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=A User", "-c", "user.email=user@example.org")
    done = subprocess.run(
        ["git", *identity, *args], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def trailers(message: str) -> dict[str, str]:
    """A commit message's trailers by git itself, in a folder without any repository's settings."""
    out = subprocess.run(
        ["git", "interpret-trailers", "--parse"],
        input=message.encode(),
        capture_output=True,
        check=True,
        cwd="/",
    ).stdout.decode()
    lines = [line.partition(":") for line in out.splitlines()]
    assert len({key for key, _, _ in lines}) == len(lines)
    return {key: value.strip() for key, _, value in lines}


def agent(folder: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "agent", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def as_json(folder: Path, *args: str) -> Any:
    lines = agent(folder, *args, "--json").stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def clone(folder: Path) -> Path:
    """The project as a newcomer has it: a repository with one commit."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return folder


@functools.cache
def _template() -> Path:
    """Such a repository, made once for all tests, since git takes longer than copying."""
    folder = Path(tempfile.mkdtemp(prefix="autoresearch-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "campaigns")
            )
        else:
            shutil.copy(source, folder / name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a newcomer's clone")
    return folder


def events(folder: Path, tag: str = "t") -> list[dict[str, Any]]:
    path = folder / "campaigns" / tag / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "agent", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
