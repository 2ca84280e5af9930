"""Measure one train.py, in the trusted parent process, which candidate code cannot reach.

``measure`` trains a source under a budget in a confined process, has its weights scored by another
process, and returns a ``Measurement``. ``check`` does the same with two steps and a few windows, to
reject what cannot work before a budget is spent. Neither imports torch, so the caller does not load
it either; the processes that they use are started once and stay warm.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer import contract, fingerprint
from trainer.data.prepare import prepare
from trainer.presets import BadSetting, Budget, parse_budget
from trainer.sandbox.client import ServerDied
from trainer.sandbox.confine import SandboxError as SandboxError
from trainer.scoring.parent import Scored, score_weights
from trainer.training import machine
from trainer.training.job import Job, Trained
from trainer.training.machine import MACHINE as MACHINE
from trainer.training.machine import Setting as Setting
from trainer.training.machine import resolve as resolve
from trainer.training.parent import OnEvent, run_training

CHECK_STEPS = 2
CHECK_WINDOWS = 8


@dataclass(frozen=True)
class Measurement:
    """One measured training.

    ``status`` is ``ok``, ``crashed``, ``oom``, ``overtime``, ``invalid`` or ``killed``. Unless it
    is ``ok``, ``reason`` begins with the fixed name of the audit or limit, and there is no score.
    """

    status: str
    reason: str
    val_bpb: float | None
    """Bits per byte of validation text."""
    startup_seconds: float
    train_seconds: float
    score_seconds: float
    wall_seconds: float
    steps: int
    """As the training reported."""
    tokens: int
    """As the training reported."""
    params: int
    peak_memory_mb: float
    curve: tuple[tuple[float, int, float], ...] = field(repr=False)
    """(seconds since READY, step, nats per token), as reported."""
    trace: str = field(repr=False)
    """Readings of the session's clock, base64 of float64; ``measure(trace=...)`` replays them."""
    weights_sha256: str
    seed: int
    isolation: str
    budget: str
    preset: str
    disturbance: float
    """Share of processor time that others used while the clock ran; 0 unless the budget is time."""
    leak_bound_bpb: float
    """Upper bound on the gain from a leak that the audits cannot detect, bits per byte."""
    detail: str = field(repr=False)
    """Traceback of the candidate, printable and bounded: data, not instructions."""
    output: str = field(repr=False)
    """What the candidate printed, printable and bounded; never used as a score."""
    fingerprint: dict[str, Any] = field(repr=False)
    """Hardware, software and data with which the score was measured."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CheckResult:
    """Whether a source trains two steps and its weights pass the audits on a few windows."""

    ok: bool
    status: str
    reason: str
    detail: str
    peak_memory_mb: float
    seconds: float


@dataclass(frozen=True)
class AuditResult:
    """The result of the stronger audit of kept weights."""

    ok: bool
    status: str
    reason: str
    leak_bound_bpb: float
    """Upper bound on the gain from a leak that the audit would not detect, bits per byte."""
    seconds: float


def measure(
    source: str,
    *,
    budget: str | Budget | None = None,
    seed: int = 0,
    preset: str = "auto",
    data: str = "apidocs",
    device: str = "auto",
    isolation: str = "auto",
    split: str = "val",
    trace: str | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
    weights_to: Path | None = None,
) -> Measurement:
    """Train ``source`` under ``budget``, score its weights, and return the result.

    Args:
        source: text of a train.py.
        budget: ``20s``, ``200000tok``; None for the preset's.
        trace: a recorded clock (``Measurement.trace``) to use instead of the real one.
        on_event: called for ``preparing``, ``ready``, ``log``, ``scoring`` as they happen.
        cancel: when set, the training is killed and the status is ``killed``.
        weights_to: where to save the weights (safetensors) of a training that succeeded.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be measured; the message says what to do.
    """
    if split != "val":
        raise BadSetting(f"split {split!r}: only val is open")
    if not 0 <= seed < 1 << 63:
        raise BadSetting(f"seed {seed}: choose a whole number from 0 to 2**63 - 1")
    emit = on_event or _ignore
    cancelled = cancel.is_set if cancel is not None else _never
    setting = resolve(preset, device, isolation, data)
    spend = setting.preset.budget if budget is None else budget
    spend = parse_budget(spend) if isinstance(spend, str) else spend
    started = time.monotonic()
    with MACHINE:
        try:
            job = _job(source, setting, spend, seed, trace, emit)
        except contract.ContractBroken as error:
            trained, scored = Trained("invalid", f"contract: {error}"), Scored("invalid", "")
            corpus = None
        else:
            started = time.monotonic()
            trained, scored = _train_and_score(job, None, emit, cancelled, weights_to)
            corpus = job.corpus
    failed = trained if trained.status != "ok" else scored
    identity = fingerprint.of(setting.device, setting.threads, MACHINE.probe(), corpus)
    return Measurement(
        status=failed.status,
        reason=failed.reason,
        val_bpb=scored.val_bpb if failed.status == "ok" else None,
        startup_seconds=round(trained.startup_seconds, 4),
        train_seconds=round(trained.train_seconds, 4),
        score_seconds=round(scored.seconds, 4),
        wall_seconds=round(time.monotonic() - started, 4),
        steps=trained.steps,
        tokens=trained.tokens,
        params=trained.params,
        peak_memory_mb=trained.peak_memory_mb,
        curve=trained.curve,
        trace=trained.trace,
        weights_sha256=trained.weights_sha256,
        seed=seed,
        isolation=setting.level,
        budget=str(spend),
        preset=setting.preset.name,
        disturbance=round(trained.disturbance, 4),
        leak_bound_bpb=scored.leak_bound_bpb,
        detail=trained.detail,
        output=trained.output,
        fingerprint=identity,
    )


def check(
    source: str,
    *,
    seed: int = 0,
    preset: str = "auto",
    data: str = "apidocs",
    device: str = "auto",
    isolation: str = "auto",
    cancel: threading.Event | None = None,
) -> CheckResult:
    """Run two real steps (smoke, memory) and audit a few windows (causality); spend no budget.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be checked.
    """
    setting = resolve(preset, device, isolation, data)
    cancelled = cancel.is_set if cancel is not None else _never
    started = time.monotonic()
    with MACHINE:
        try:
            job = _job(source, setting, Budget(steps=CHECK_STEPS), seed, None, _ignore)
        except contract.ContractBroken as error:
            trained, scored = Trained("invalid", f"contract: {error}"), Scored("invalid", "")
        else:
            trained, scored = _train_and_score(job, CHECK_WINDOWS, _ignore, cancelled)
    failed = trained if trained.status != "ok" else scored
    return CheckResult(
        ok=failed.status == "ok",
        status=failed.status,
        reason=failed.reason,
        detail=trained.detail,
        peak_memory_mb=trained.peak_memory_mb,
        seconds=time.monotonic() - started,
    )


def audit(
    source: str,
    weights: Path,
    claimed_bpb: float,
    *,
    preset: str = "auto",
    data: str = "apidocs",
    device: str = "auto",
    isolation: str = "auto",
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> AuditResult:
    """Run the stronger audit on weights to be kept: only prefixes, at many secret positions.

    Args:
        source: the train.py that made the weights.
        weights: the file that ``measure(weights_to=...)`` saved.
        claimed_bpb: the score that the weights got.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be audited.
        OSError: the weights cannot be read.
    """
    setting = resolve(preset, device, isolation, data)
    cancelled = cancel.is_set if cancel is not None else _never
    emit = on_event or _ignore
    with MACHINE, weights.open("rb") as file:
        try:
            job = _job(source, setting, setting.preset.budget, 0, None, emit)
            scored = score_weights(
                MACHINE.server(), job, file.fileno(), None, emit, cancelled, claimed_bpb
            )
        except contract.ContractBroken as error:
            scored = Scored("invalid", f"contract: {error}")
        except ServerDied as error:
            MACHINE.close()
            scored = Scored("crashed", f"crash: {error}")
    return AuditResult(
        scored.status == "ok", scored.status, scored.reason, scored.leak_bound_bpb, scored.seconds
    )


def _job(
    source: str,
    setting: Setting,
    budget: Budget,
    seed: int,
    trace: str | None,
    emit: OnEvent,
) -> Job:
    shapes = contract.read(source, setting.preset.max_seq_len)

    def progress(stage: str, fraction: float) -> None:
        emit({"event": "preparing", "stage": stage, "fraction": fraction})

    corpus = prepare(
        setting.data,
        vocab_size=shapes.vocab_size,
        val_bytes=setting.preset.val_bytes,
        progress=progress,
    )
    return Job(
        source=source,
        shapes=shapes,
        corpus=corpus,
        budget=budget,
        seed=seed,
        preset=setting.preset,
        device=setting.device,
        threads=setting.threads,
        level=setting.level,
        readable=machine.readable(setting.device),
        trace=trace,
    )


def _train_and_score(
    job: Job,
    max_windows: int | None,
    emit: OnEvent,
    cancelled: Callable[[], bool],
    weights_to: Path | None = None,
) -> tuple[Trained, Scored]:
    server = MACHINE.server()
    trained: Trained | None = None
    try:
        trained = run_training(server, MACHINE.compile_cache, job, emit, cancelled)
        if trained.weights is None:
            return trained, Scored(trained.status, trained.reason)
        try:
            if weights_to is not None:
                _copy(trained.weights, weights_to)
            return trained, score_weights(
                server, job, trained.weights, max_windows, emit, cancelled
            )
        finally:
            os.close(trained.weights)
    except ServerDied as error:
        MACHINE.close()
        reason = f"crash: {error}"
        return trained or Trained("crashed", reason), Scored("crashed", reason)


def _copy(fd: int, path: Path) -> None:
    """Copy an open file to ``path`` atomically."""
    unfinished = path.with_name(f"{path.name}.part")
    with os.fdopen(os.dup(fd), "rb") as file, unfinished.open("wb") as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy, 1 << 20)
    unfinished.replace(path)


def _ignore(event: dict[str, Any]) -> None:
    """The event handler if the caller gives none."""


def _never() -> bool:
    return False
