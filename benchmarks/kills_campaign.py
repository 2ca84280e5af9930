"""A short real campaign that repeats bit for bit: how it is made, run, compared and looked over.

Each training takes some thousand tokens, in the real sandbox. Structure comes from a model, which
is a program that knows an answer to everything, numbers from the tuner. So a campaign has keeps,
reverts, rejected trials, crashes that are repaired, null trials, audits.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agent.campaign import store
from agent.campaign.records import Trial
from agent.campaign.state import rebuild_prior
from agent.git.repo import Repo
from benchmarks.machine import ROOT

TAG = "t"
CLOSE = 0.02
"""Bits per byte. The audits ask at secret positions, drawn anew each time, and what they bound is
taken off a gain: so a gain repeats about, a score to the last bit."""
KILLED = "killed.jsonl"
PATIENCE_SECONDS = 280
TOLD = 1500
"""Characters of a run's output that a fault tells."""
FAULTS = (["locked"], ["prunable"])
"""How git marks a worktree that was not made or removed in full."""
CACHE = f"torchinductor_{getpass.getuser()}"
"""A folder that torch makes whenever it is imported, one for all its processes."""

PROGRAM = """\
---
nulls: 0.25
keep: greedy
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
        (shared / "text.txt").write_text(_text())
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


def _text() -> str:
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


def any_kill(dice: random.Random, begun: int, stride: int) -> Kill:
    """A kill by lot, of a run that goes on after ``begun`` events.

    Args:
        stride: it comes before so many more events.
    """
    moment = {"event": begun + dice.randrange(1, stride), "side": dice.choice(["before", "after"])}
    sooner: Kill = dice.choice(
        [{}, {"step": dice.randrange(1, 100)}, {"report": dice.randrange(1, 20)}]
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
    stride = 2 + 2 * events // kills
    while True:
        some: list[Kill] = []
        left_to_do = kills - len(kills_of(site))
        while len(some) < left_to_do and (not some or some[-1]["victim"] == "child"):
            begun = max([site.events() - 1, *(kill["event"] for kill in some)])
            some.append(any_kill(dice, begun, stride))
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


# --- what is compared ---


def outcome(site: Site) -> dict[str, Any]:
    """All that a kill must not change, as JSON has it."""
    state = store.load(Repo.open(site.repo), TAG)
    numbers = {trial.commit: trial.trial for trial in state.trials if trial.commit}
    prior = rebuild_prior(
        ("architecture", "hyperparameters", "schedule"), site.seed, state.finished
    )
    found = {
        "trials": [_trial(site, trial, numbers) for trial in state.trials],
        "branch": git(site, "log", "--format=%T", f"autoresearch/{TAG}").splitlines(),
        "notes": len(git(site, "notes", f"--ref=autoresearch/{TAG}", "list").splitlines()),
        "rows": [
            row.split("\t")[3] for row in (site.campaign / "results.tsv").read_text().splitlines()
        ],
        "prior": prior.probabilities(),
        "seeds": state.seeds_used,
    }
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _trial(site: Site, trial: Trial, numbers: Mapping[str, int]) -> dict[str, Any]:
    names = "category proposer title hypothesis reply rejections proof verdict status null_constant"
    commit = trial.commit or trial.candidate
    return {
        **{name: getattr(trial, name) for name in names.split()},
        "propensity": trial.propensity,
        "tree": git(site, "rev-parse", f"{commit}^{{tree}}") if commit else "",
        "parent": numbers.get(trial.parent),
        "trainings": [
            (one.role, one.heat, one.seed, one.status, one.val_bpb, one.weights_sha256, one.reused)
            for one in trial.trainings
        ],
        "audits": [audit.status for audit in trial.audits],
        "gains": [trial.gain, *trial.differences],
        "reward": trial.reward,
    }


def differences(first: Any, second: Any, where: str = "") -> Iterator[str]:
    """In what two outcomes differ, gains by more than ``CLOSE``."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in first.keys() | second.keys():
            yield from differences(first.get(name), second.get(name), f"{where} {name}".strip())
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{where} {number}".strip())
    elif not _same(first, second, where):
        yield f"{where}: {first!r} is {second!r} after kills"


def _same(first: Any, second: Any, where: str) -> bool:
    about = {"gains", "reward", "prior", "propensity"} & set(where.split())
    if about and isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, abs_tol=CLOSE)
    return bool(first == second)


def left(site: Site) -> list[str]:
    """What should not be there once a campaign has ended in order."""
    git_folder = site.repo / ".git"
    fsck = git(site, "fsck", "--no-dangling", "--no-progress")
    worktrees = git(site, "worktree", "list", "--porcelain")
    unfinished = ("*.safetensors*", "*.tmp", "*.part", "*.torn-*", "worktree.old*")
    found: Sequence[tuple[str, object]] = [
        *(("process", process) for process in processes(site)),
        *(("temporary file", path) for path in site.tmp.iterdir() if path.name != CACHE),
        *(("git lock", path) for path in git_folder.rglob("*.lock")),
        *(("file", path) for name in unfinished for path in site.campaign.rglob(name)),
        ("writer of the journal", store.running(Repo.open(site.repo), TAG)),
        ("git fsck", fsck),
        ("change in the user's checkout", git(site, "status", "--porcelain")),
        *(
            ("worktree", line)
            for line in worktrees.splitlines()
            if line.startswith(("lock", "prun"))
        ),
    ]
    return [f"{what} left: {it}" for what, it in found if it]
