"""The parts of ``benchmarks.gpu``: each measures one thing through the public seams.

A part takes the settings and what other parts have found, and returns figures. The functions do not
ask which device it is, so that tests run them on a CPU.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.sizes import sizes, with_constants
from trainer import contract
from trainer.data.prepare import prepare
from trainer.measure import MACHINE, Measurement, audit, heat, measure
from trainer.presets import Preset
from trainer.sandbox import confine

Figures = dict[str, Any]
TRAIN_FILE = ROOT / "trainer" / "train.py"
ESCAPES = ROOT / "trainer" / "sandbox" / "escapes.py"
TIME_IS_UP = "the call's time was up"
END_SECONDS = 30.0
"""For a campaign to end in order, once the time is up."""
CLONED = ("agent", "trainer", "prompts", "program.md", ".gitignore")
COUNTING = '''


def train(session, _train=train):
    """Says how many graphs torch compiled before READY, and how many after it, on the clock."""
    import torch._dynamo.utils

    def graphs():
        return torch._dynamo.utils.counters["stats"]["unique_graphs"]

    begin, before = session.ready, []

    def ready():
        before.append(graphs())
        begin()

    session.ready = ready
    model = _train(session)
    print("graphs", before[0], graphs() - before[0])
    return model
'''
"""Appended to a training file; the harness itself has no use for the numbers."""


class Lost(Exception):
    """A part gave no figures; the message says why."""


class NotYet(Exception):
    """A part goes on in the next call, from where it is."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and on what."""

    preset: Preset
    device: str
    data: str
    isolation: str = "auto"
    train_file: Path = TRAIN_FILE
    reference: Path | None = None
    """A port of the ancestor to this contract, kept elsewhere."""
    short: str = "20s"
    minute: str = "60s"
    long: str = "300s"
    trials: int = 3
    each: str = "20s"
    """Budget of the campaign's trainings."""
    folder: Path = Path(tempfile.gettempdir()) / "autoresearch-benchmarks-gpu"
    """Where the campaign goes on in the next call."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set when the time of this call is up."""
    seconds_left: Callable[[], float] = lambda: 540.0

    @property
    def settings(self) -> dict[str, Any]:
        """Keywords of a measurement."""
        return {
            "preset": self.preset.name,
            "data": self.data,
            "device": self.device,
            "isolation": self.isolation,
            "cancel": self.cancel,
        }

    @property
    def source(self) -> str:
        """The training file with the preset's constants, counting what it compiles."""
        return with_constants(self.train_file.read_text(), self.preset) + COUNTING


Done = Mapping[str, Figures]
"""What other parts have found, by name."""


def train(
    bench: Bench, budget: str, seed: int = 0, text: str | None = None, **more: Any
) -> Figures:
    """One training with its scoring.

    Raises:
        Lost: it has no score.
        NotYet: the call's time was up.
    """
    source = bench.source if text is None else text + COUNTING
    measured = measure(source, budget=budget, seed=seed, **bench.settings, **more)
    _refuse_lost(bench, measured)
    vocab_size = contract.read(source, bench.preset.max_seq_len).vocab_size
    corpus = prepare(bench.data, vocab_size=vocab_size, val_bytes=bench.preset.val_bytes)
    in_domain = sum(part.n_tokens for part in corpus.train if part.in_domain)
    return {**_figures(measured), "epochs": round(measured.tokens / in_domain, 2)}


def _figures(measured: Measurement) -> Figures:
    before, after = _graphs(measured.output)
    return {
        "val_bpb": measured.val_bpb,
        "seed": measured.seed,
        "tokens_per_second": round(measured.tokens / max(measured.train_seconds, 1e-9)),
        "mfu": measured.mfu,
        "steps": measured.steps,
        "tokens": measured.tokens,
        "parameters": measured.params,
        "peak_memory_mb": measured.peak_memory_mb,
        "startup_seconds": measured.startup_seconds,
        "train_seconds": measured.train_seconds,
        "scoring_seconds": measured.score_seconds,
        "wall_seconds": measured.wall_seconds,
        "graphs_before_ready": before,
        "graphs_after_ready": after,
        "isolation": measured.isolation,
        "leak_bound_bpb": measured.leak_bound_bpb,
    }


def _graphs(output: str) -> tuple[int | None, int | None]:
    """What ``COUNTING`` printed; None of a file without it."""
    told = [line.split() for line in output.splitlines() if line.startswith("graphs ")]
    return (int(told[-1][1]), int(told[-1][2])) if told else (None, None)


def _refuse_lost(bench: Bench, measured: Measurement) -> None:
    if bench.cancel.is_set():
        raise NotYet(TIME_IS_UP)
    if measured.status != "ok":
        raise Lost(f"{measured.status}: {measured.reason} {measured.detail[-1000:]}".strip())


# --- the parts ---


def doctor(bench: Bench, done: Done) -> Figures:
    """What ``agent doctor`` finds; it needs a repository, which a copied tree has not."""
    command = [sys.executable, "-m", "agent", "doctor", "--json", "--llm", "none"]
    ended = _run(bench, command, ROOT)
    try:
        checks = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise Lost(f"agent doctor: {ended.stderr.strip()[-500:]}") from None
    failed = {each["check"]: each["detail"] for each in checks if not each["ok"]}
    return {"checks": len(checks), "failed": failed}


def isolation(bench: Bench, done: Done) -> Figures:
    """The level that is reached, and which ways out of it are open with the device's files."""
    level, why = confine.available()
    if level != "os":
        return {"level": level, "why": why, "doors": 0, "open": []}
    settings = {**bench.settings, "isolation": "require"}
    tried = measure(ESCAPES.read_text(), budget="1tok", **settings)
    tries = [line.rpartition(": ") for line in tried.output.splitlines() if ": " in line]
    if not tries:
        raise Lost(f"no way out could be tried: {tried.status} {tried.reason}")
    opened = [name for name, _, state in tries if state == "open"]
    return {"level": tried.isolation, "doors": len(tries), "open": opened}


def count(bench: Bench, done: Done) -> Figures:
    """Parameters, FLOPs and memory by fake tensors, beside which the device's can be held."""
    found = sizes(bench.preset)
    return {
        "parameters": found.parameters,
        "flops_per_token": found.flops_per_token,
        "estimated_memory_mb": round(found.memory_mb),
    }


def compiling(bench: Bench, done: Done) -> Figures:
    """Start-up with nothing compiled, and with what the training before compiled."""
    MACHINE.close()  # what was compiled goes with the processes
    cold, lent = train(bench, bench.short), train(bench, bench.short)
    return {
        "cold_seconds": cold["startup_seconds"],
        "lent_seconds": lent["startup_seconds"],
        "graphs_before_ready": cold["graphs_before_ready"],
        "graphs_after_ready": [cold["graphs_after_ready"], lent["graphs_after_ready"]],
        "tokens_per_second": lent["tokens_per_second"],
    }


def minute(bench: Bench, done: Done) -> Figures:
    """A training with its scoring and usual audits, then the audit before a keep."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        found = train(bench, bench.minute, weights_to=weights)
        audited = audit(
            bench.source,
            weights,
            found["val_bpb"],
            train_seconds=found["train_seconds"],
            **bench.settings,
        )
    if bench.cancel.is_set():
        raise NotYet(TIME_IS_UP)
    names = ("ok", "reason", "seconds", "leak_bound_bpb")
    return {**found, "audit_before_keep": {name: getattr(audited, name) for name in names}}


def whole(bench: Bench, done: Done) -> Figures:
    """A training of the preset's usual budget."""
    return train(bench, bench.long)


def side_by_side(bench: Bench, done: Done) -> Figures:
    """One heat of the file with itself, so that its difference is luck."""
    peak = done.get("minute", {}).get("peak_memory_mb")
    sources = [bench.source, bench.source + "\n# The same.\n"]
    settings = {**bench.settings, "budget": bench.short}
    pair = heat(sources, seed=0, peak_memory_mb=peak, **settings)
    for measured in pair:
        _refuse_lost(bench, measured)
    champion, candidate = pair
    assert champion.val_bpb is not None and candidate.val_bpb is not None
    return {
        "how": champion.how,
        "difference": champion.val_bpb - candidate.val_bpb,
        "steps": [each.steps for each in pair],
        "wall_seconds": champion.wall_seconds,
    }


def noise(bench: Bench, done: Done) -> Figures:
    """The spread of three trainings with different seeds; the first is that of ``minute``."""
    first = done.get("minute") or train(bench, bench.minute)
    more = [train(bench, bench.minute, seed) for seed in (1, 2)]
    scores = [each["val_bpb"] for each in (first, *more)]
    speeds = [each["tokens_per_second"] for each in (first, *more)]
    return {"scores": scores, "sd": stdev(scores), "tokens_per_second": speeds}


def campaign(bench: Bench, done: Done) -> Figures:
    """A campaign by deck and tuner in a clone, one heat a trial; it goes on in the next call."""
    clone = bench.folder / f"{bench.preset.name}-{bench.trials}"
    if not (clone / ".git").is_dir():
        _clone(clone)
    given = {
        "--tag": "gpu",
        "--trials": str(bench.trials),
        "--budget": bench.each,
        "--llm": "none",
        "--keep": "greedy",
        "--preset": bench.preset.name,
        "--data": bench.data,
        "--isolation": bench.isolation,
    }
    words = [word for pair in given.items() for word in pair]
    ended = _run(bench, [sys.executable, "-m", "agent", "run", *words, "--json"], clone)
    try:
        status = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise Lost(f"agent run: {ended.stderr.strip()[-500:]}") from None
    if status["trials"] < bench.trials:
        raise Lost(f"agent run ended after {status['trials']} of {bench.trials} trials")
    names = ("trials", "kept", "reverted", "rejected", "baseline_bpb", "best_bpb")
    return {name: status[name] for name in names}


def _clone(folder: Path) -> None:
    """A repository of its own, as ``agent run`` needs one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in CLONED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    identity = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    try:
        for words in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "as measured")):
            subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Lost(f"no repository could be made: {error}") from None


def _run(bench: Bench, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the agent.

    Raises:
        NotYet: the call's time was up; it was asked to end in order.
    """
    MACHINE.close()  # it has processes of its own, and the device's memory is for one
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=max(1.0, bench.seconds_left()))
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise NotYet(TIME_IS_UP) from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _reference(bench: Bench, budget: str) -> Figures:
    assert bench.reference is not None
    return {"file": bench.reference.name, **train(bench, budget, text=bench.reference.read_text())}


def reference_minute(bench: Bench, done: Done) -> Figures:
    """The reference on the same text, scorer and card."""
    return _reference(bench, bench.minute)


def reference_whole(bench: Bench, done: Done) -> Figures:
    return _reference(bench, bench.long)
