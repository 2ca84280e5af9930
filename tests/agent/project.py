"""The project as a newcomer has it, and its commands as typed; for the tests of whole runs."""

from __future__ import annotations

import ast
import atexit
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import Done, run_here

ROOT = Path(__file__).parents[2]
SHIPPED = ("agent", "trainer", "prompts", "examples", "program.md", ".gitignore")
WITHOUT_MODEL = """


def build_model(spec):
    raise NotImplementedError


def train(session):
    session.ready()
    step = 0
    loss = None
    while not session.done():
        session.log(step, loss=loss)
    return build_model(session.spec)
"""
TINY = (Path(__file__).parents[1] / "tiny_train.py").read_text()
CUTTING = re.search(r"^def batches.*?(?=^def build_model)", TINY, re.DOTALL | re.MULTILINE)[0]
TRAIN_PY = f'''\
"""A small train.py with constants to try: it guesses a token from the one before it."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# === preprocessing ===
VOCAB_SIZE = 512
SEQ_LEN = 256

# === architecture ===
DEPTH = 1  # blocks; range 1..3 int
WIDTH = 32
HEAD_DIM = 8
ACTIVATION = "relu"  # of each block; choice relu gelu silu

# === initialisation ===
STD = 0.02  # of the embedding; range 0.001..1 log

# === hyperparameters ===
RATE = 0.03  # peak learning rate; range 0.0001..0.1 log
ROWS = 1  # rows in a step; choice 1 2 4 8
BATCH_ROWS = 4

# === schedule ===
FLOOR = 0.3  # of the peak, what is left of the rate at the end; range 0..1

# === efficiency ===
MICRO_ROWS = 4


class Small(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, WIDTH)
        nn.init.normal_(self.embed.weight, std=STD)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, vocab_size)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = x + getattr(F, ACTIVATION)(block(x))
        return self.head(x)


{CUTTING}def build_model(spec):
    return Small(spec.vocab_size)


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    session.ready()
    drawn = batches(session, ROWS, session.spec.seq_len)
    step = 0
    while not session.done():
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - (1 - FLOOR) * session.progress())
        ids, targets = next(drawn)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        session.log(step, loss=loss.detach())
        step += 1
    return model
'''
PATIENCE_SECONDS = 120
RUN = ("run", "--tag", "t", "--budget", "6000tok", "--llm", "none")


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


def agent(folder: Path, *args: str, check: bool = True) -> Done:
    """``python -m agent``, in this process, which has imported it and torch: that takes seconds."""
    done = run_here(folder, *args)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def run_there(folder: Path, *args: str) -> Done:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "agent", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    return Done(done.returncode, done.stdout, done.stderr)


def as_json(folder: Path, *args: str) -> Any:
    lines = agent(folder, *args, "--json").stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def clone(folder: Path) -> Path:
    """The project as a newcomer has it: a repository with one commit."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return folder


def clone_small(folder: Path) -> Path:
    """With a small train.py, whose scoring takes a fifth of the shipped one's time."""
    clone(folder)
    (folder / "trainer/train.py").write_text(TRAIN_PY)
    git(folder, "commit", "-qam", "a small train.py")
    return folder


def clone_without_model(folder: Path) -> Path:
    """Of train.py only the constants, of the rest what is read in this process: trains nothing.

    Most of the time of a trial that trains nothing goes into parsing train.py.
    """
    shutil.copytree(_template_without_model(), folder, dirs_exist_ok=True)
    return folder


@functools.cache
def _template_without_model() -> Path:
    folder = _repository(("program.md", "trainer/train.py", ".gitignore"))
    path = folder / "trainer/train.py"
    lines = path.read_text().splitlines(keepends=True)
    for node in reversed(ast.parse("".join(lines)).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            first = min(part.lineno for part in (node, *node.decorator_list))
            del lines[first - 1 : node.end_lineno]
    path.write_text(re.sub(r"\n{4,}", "\n\n\n", "".join(lines)).rstrip() + WITHOUT_MODEL)
    git(folder, "commit", "-qam", "a file that is not trained")
    git(folder, "gc", "-q")
    return folder


@functools.cache
def _template() -> Path:
    """Such a repository, made once for all tests, since git takes longer than copying."""
    folder = _repository(SHIPPED)
    git(folder, "gc", "-q")  # fewer files to copy
    return folder


def _repository(names: tuple[str, ...]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="autoresearch-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in names:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "campaigns")
            shutil.copytree(source, folder / name, symlinks=True, ignore=ignore)
        else:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    git(folder, "init", "-q", "-b", "main", "--template=")  # no hooks to copy
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a newcomer's clone")
    return folder


def events(folder: Path, tag: str = "t") -> list[dict[str, Any]]:
    path = folder / "campaigns" / tag / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
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
