"""A short real campaign that repeats bit for bit: how it is made, run and killed.

Each training takes some thousand tokens, in the real sandbox. Structure comes from a model, which
is a program that knows an answer to everything, numbers from the tuner. So a campaign has keeps,
reverts, rejected trials, crashes that are repaired, null trials, audits.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import ROOT

TAG = "t"
KILLED = "killed.jsonl"
PATIENCE_SECONDS = 280
TOLD = 1500
"""Characters of a run's output that a fault tells."""
PROGRAM = """\
---
nulls: 0.25
keep: greedy
sequential: true
---

# Research program

## Categories

- **architecture**: what the model computes
- **hyperparameters**: learning rates and batch size
- **schedule**: what changes with progress
"""

TRAIN_PY = '''\
"""It guesses a token from the one before it."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# === preprocessing ===
VOCAB_SIZE = 512
SEQ_LEN = 256

# === architecture ===
WIDTH = 16

# === hyperparameters ===
RATE = 0.003  # peak learning rate; range 0.0001..0.1 log
LAST_STEP = 1000000

# === schedule ===
FLOOR = 0.3  # of the peak, what is left of the rate at the end; range 0..1


class Small(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, WIDTH)
        self.head = nn.Linear(WIDTH, vocab_size)

    def forward(self, ids):
        return self.head(self.embed(ids))


def build_model(spec):
    return Small(spec.vocab_size)


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    session.ready()
    tokens = next(iter(session.data.sources.values())).tokens
    length = session.spec.seq_len
    rng = np.random.default_rng(session.seed)
    step = 0
    while not session.done():
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - (1 - FLOOR) * session.progress())
        start = int(rng.integers(0, len(tokens) - length - 1))
        session.consumed(length)
        row = torch.from_numpy(tokens[start : start + length + 1].astype(np.int64))
        row = row[None].to(session.device)
        loss = F.cross_entropy(model(row[:, :-1]).flatten(0, 1), row[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        session.log(step, loss=loss.detach())
        step += 1
        if step > LAST_STEP:
            raise RuntimeError(step)
    return model
'''


MODEL = r'''
import re, sys

prompt = sys.stdin.read()
category = re.search(r"category \*\*(\w+)\*\*", prompt)[1]
before = len(re.findall(r"^trial [1-9]\d*, ", prompt, re.MULTILINE))
asked = prompt.count("You replied:")
rate = re.search(r"^RATE = ([\d.e-]+).*$", prompt, re.MULTILINE)
higher = f"RATE = {float(rate[1]) * 2.7:.4g}  # higher"
lines = rate[0] + "\nLAST_STEP = 1000000"
nothing = ("what no file has", "")
replies = [
    [nothing, (lines, higher + "\nLAST_STEP = 4"), (rate[0], higher)],  # kept once it is repaired
    [],
    [(rate[0], f"RATE = {float(rate[1]) / 3:.4g}  # lower")],
][before % 3]
search, new = replies[asked] if asked < len(replies) else nothing
print(f"""category: {category}
hypothesis: reply {asked + 1} after {before} trials
<<<<<<< SEARCH
{search}
=======
{new}
>>>>>>> REPLACE""")
'''


@dataclass(frozen=True)
class Site:
    """Where campaigns are killed: a folder with a repository and temporary files of its own."""

    folder: Path
    shared: Path
    """The folder of what is made once: the text, the model, the cache."""
    trials: int
    seed: int = 0
    budget: str = "5000tok"

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def tmp(self) -> Path:
        """Every process of the campaign has it in its environment, and is known by it."""
        return self.folder / "tmp"

    @property
    def campaign(self) -> Path:
        return self.repo / "campaigns" / TAG

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        cache = str(self.shared / "cache")
        return {
            **kept,
            "TMPDIR": str(self.tmp),
            "AUTORESEARCH_CACHE": cache,
            "PYTHONPATH": str(ROOT),
        }

    @property
    def command(self) -> list[str]:
        """Arguments of ``python -m agent``."""
        model = shlex.join([sys.executable, "-S", "-E", str(self.shared / "model.py")])
        return [
            *("run", "--tag", TAG, "--trials", str(self.trials), "--seed", str(self.seed)),
            *("--budget", self.budget, "--data", f"files:{self.shared / 'text.txt'}"),
            *("--llm", f"command:{model}"),
        ]

    def events(self) -> int:
        """How many events the journal has."""
        path = self.campaign / "journal.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def make(folder: Path, shared: Path, trials: int, seed: int = 0) -> Site:
    """A user's repository with one commit, ready to begin the campaign."""
    site = Site(folder, shared, trials, seed)
    if not (shared / "text.txt").exists():
        shared.mkdir(parents=True, exist_ok=True)
        (shared / "text.txt").write_text(made_up_text())
    (shared / "model.py").write_text(MODEL)
    for path, content in (
        ("trainer/train.py", TRAIN_PY),
        ("program.md", PROGRAM),
        (".gitignore", "campaigns/\n"),
    ):
        (site.repo / path).parent.mkdir(parents=True, exist_ok=True)
        (site.repo / path).write_text(content)
    site.tmp.mkdir()
    git(site, "init", "--quiet", "--initial-branch=main")
    git(site, "add", "--all")
    git(site, "-c", "user.name=A User", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    return site


def made_up_text() -> str:
    """Sections of made-up words, some far more frequent than others."""
    dice = random.Random(0)
    words = ["".join(dice.choices("etaoinshrdlucmfwyp", k=dice.randint(2, 9))) for _ in range(4000)]
    shares = range(len(words), 0, -1)
    return "\n\n".join(" ".join(dice.choices(words, shares, k=400)) for _ in range(300))


def git(site: Site, *args: str) -> str:
    command = ["git", "-C", str(site.repo), *args]
    done = subprocess.run(command, capture_output=True, text=True, env=site.environ, check=True)
    return done.stdout.strip()


Kill = Mapping[str, Any]
"""A moment and a victim, as ``kills_launcher`` takes them."""


def start(site: Site, *kills: Kill) -> subprocess.Popen[str]:
    """Start the campaign, or go on with it, in a process group of its own."""
    program = "benchmarks.kills_launcher" if kills else "agent"
    return subprocess.Popen(
        [sys.executable, "-m", program, *site.command],
        cwd=site.repo,
        env=site.environ | {"KILL": json.dumps(kills), "KILLED": str(site.folder / KILLED)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(site: Site, *kills: Kill) -> tuple[int, str]:
    """Exit status and output of a run, once no process of it is left."""
    with start(site, *kills) as process:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    _, alive = psutil.wait_procs(processes(site), timeout=60)
    return process.returncode, output + "".join(f"\nstill there: {one}" for one in alive)


def any_kill(dice: random.Random, least: int, stride: int) -> Kill:
    """A kill by lot, before ``stride`` more events than the ``least``."""
    moment = {"event": least + dice.randrange(1, stride), "side": dice.choice(["before", "after"])}
    sooner: Kill = dice.choice(
        [
            {},
            {"step": dice.randrange(1, 100)},
            {"report": dice.randrange(1, 20)},
            {"seconds": dice.uniform(0.0, 8.0)},
        ]
    )
    victim = dice.choice(["parent", "group", "tree", "child"])
    return {**moment, **sooner, "victim": victim, "child": dice.randrange(12)}


def kills_of(site: Site) -> list[Kill]:
    """The kills that there were."""
    path = site.folder / KILLED
    return [*map(json.loads, path.read_text().splitlines())] if path.exists() else []


def run_and_kill(site: Site, kills: int, events: int, dice: random.Random) -> list[str]:
    """Run the campaign to its end with so many kills by lot; returns what was wrong with a run.

    Args:
        events: how many the undisturbed campaign has, over which the kills are spread.
    """
    stride = max(2, 1 + events // kills)  # so that there are events enough for all
    while True:
        some: list[Kill] = []
        left_to_do = kills - len(kills_of(site))
        while len(some) < left_to_do and (not some or some[-1]["victim"] == "child"):
            some.append(any_kill(dice, some[-1]["event"] if some else 0, stride))
        status, output = run(site, *some)
        wanted = (0, -signal.SIGKILL) if some else (0,)
        if status not in wanted or "still there" in output:
            return [f"after {some}: exit status {status}: {output[-TOLD:]}"]
        if status == 0:
            return []


def processes(site: Site) -> list[psutil.Process]:
    """All processes of the campaign."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return process.environ().get("TMPDIR") == str(site.tmp)
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if belongs(process)]
