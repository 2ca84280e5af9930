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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer import contract, fingerprint
from trainer.data.prepare import prepare
from trainer.presets import BadSetting, Budget, parse_budget
from trainer.results import AuditResult as AuditResult
from trainer.results import CheckResult as CheckResult
from trainer.results import Measurement as Measurement
from trainer.sandbox.client import ServerDied
from trainer.sandbox.confine import SandboxError as SandboxError
from trainer.scoring.parent import Scored, score_weights
from trainer.training import machine
from trainer.training.heat import how_to_train, numbered, train_all
from trainer.training.job import Job, Trained
from trainer.training.machine import MACHINE as MACHINE
from trainer.training.machine import Setting as Setting
from trainer.training.machine import resolve as resolve
from trainer.training.parent import OnEvent
from trainer.training.watch import Watch as Watch

CHECK_STEPS = 2
CHECK_WINDOWS = 8
MOST_TRAININGS = 8
"""In one heat."""


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
    watch: Watch | None = None,
) -> Measurement:
    """Train ``source`` under ``budget``, score its weights, and return the result.

    Args:
        source: text of a train.py.
        budget: ``20s``, ``200000tok``; None for the preset's.
        trace: a recorded clock (``Measurement.trace``) to use instead of the real one.
        on_event: called for ``preparing``, ``ready``, ``log``, ``scoring`` as they happen.
        cancel: when set, the training is killed and the status is ``killed``.
        weights_to: where to save the weights (safetensors) of a training that succeeded.
        watch: as of ``heat``; the champion's losses are ``()``.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be measured; the message says what to do.
    """
    (measured,) = heat(
        [source],
        budget=budget,
        seed=seed,
        preset=preset,
        data=data,
        device=device,
        isolation=isolation,
        split=split,
        trace=trace,
        on_event=on_event,
        cancel=cancel,
        weights_to=[weights_to],
        watch=watch,
    )
    return measured


def heat(
    sources: Sequence[str],
    *,
    budget: str | Budget | None = None,
    seed: int | Sequence[int] = 0,
    preset: str = "auto",
    data: str = "apidocs",
    device: str = "auto",
    isolation: str = "auto",
    split: str = "val",
    trace: str | Sequence[str | None] | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
    weights_to: Sequence[Path | None] | None = None,
    watch: Watch | None = None,
    champion_first: bool = True,
    peak_memory_mb: float | None = None,
) -> list[Measurement]:
    """Train ``sources`` side by side and score each; the first is the champion.

    Under a time budget only one trains at a time, for about 1 % of the budget, then the next; each
    has a clock of its own, so that a change of the machine's pace meets all of them. Trainings that
    do not fit into memory together, and those under a token budget, run one after the other.

    Args:
        seed: one for all, or one for each.
        trace: a recorded clock for a single source; one, or None, for each. A training that replays
            takes turns like any other, and its ``train_seconds`` are those of its turns.
        on_event: called as by ``measure``; ``training`` is the index of the source.
        weights_to: as in ``measure``, for each source.
        watch: called with the index of a candidate, its losses by twentieths of the budget so far
            and the champion's, each time that both have completed another twentieth, from two on.
            If it returns a text, that training ends at once, ``abandoned`` for this reason; the
            champion ends when no candidate is left. Nothing catches what it raises.
        champion_first: whether the first source is trained first or last, where it is not trained
            side by side; last, a watch is shown no losses of it.
        peak_memory_mb: what the champion is known to take, on the device if it is trained on one;
            it tells whether all fit. Not known: on a device they do not.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be measured; the message says what to do.
    """
    seeds = [seed] * len(sources) if isinstance(seed, int) else list(seed)
    traces = [trace] if isinstance(trace, str) else list(trace or [None] * len(sources))
    _refuse_impossible(len(sources), seeds, traces, weights_to, split)
    emit = on_event or _ignore
    cancelled = cancel.is_set if cancel is not None else _never
    setting = resolve(preset, device, isolation, data)
    spend = setting.preset.budget if budget is None else budget
    spend = parse_budget(spend) if isinstance(spend, str) else spend
    started = time.monotonic()
    with MACHINE:
        jobs: list[Job | Trained] = []
        for source, own_seed, own_trace in zip(sources, seeds, traces, strict=True):
            try:
                jobs.append(_job(source, setting, spend, own_seed, own_trace, emit))
                started = time.monotonic() if len(jobs) == 1 else started
            except contract.ContractBroken as error:
                jobs.append(Trained("invalid", f"contract: {error}"))
        how = how_to_train(jobs, peak_memory_mb)
        emits = [emit] if len(sources) == 1 else [numbered(emit, n) for n in range(len(sources))]
        trained = train_all(jobs, how, emits, cancelled, watch, champion_first)
        try:
            paths = weights_to or [None] * len(sources)
            scored = [
                _score(job, one, path, None, emit, cancelled)
                for job, one, path, emit in zip(jobs, trained, paths, emits, strict=True)
            ]
        finally:
            for one in trained:
                one.close()
        probe = MACHINE.probe()
    return [
        _measurement(one, score, job, how, own_seed, spend, setting, probe, started)
        for one, score, job, own_seed in zip(trained, scored, jobs, seeds, strict=True)
    ]


def _refuse_impossible(
    count: int,
    seeds: Sequence[int],
    traces: Sequence[str | None],
    weights_to: Sequence[Path | None] | None,
    split: str,
) -> None:
    if split != "val":
        raise BadSetting(f"split {split!r}: only val is open")
    if not 1 <= count <= MOST_TRAININGS:
        raise BadSetting(f"a heat of {count} trainings: give 1 to {MOST_TRAININGS} files")
    if len(seeds) != count:
        raise BadSetting(f"{len(seeds)} seeds for {count} files: give one seed, or one for each")
    if weights_to is not None and len(weights_to) != count:
        raise BadSetting(f"{len(weights_to)} places for weights of {count} files")
    for seed in seeds:
        if not 0 <= seed < 1 << 63:
            raise BadSetting(f"seed {seed}: choose a whole number from 0 to 2**63 - 1")
    if len(traces) != count:
        raise BadSetting(
            f"{len(traces)} recorded clocks for {count} files: give one, or None, each"
        )


def _score(
    job: Job | Trained,
    trained: Trained,
    weights_to: Path | None,
    max_windows: int | None,
    emit: OnEvent,
    cancelled: Callable[[], bool],
) -> Scored:
    """Score the weights of a training, if it left any."""
    if trained.weights is None or not isinstance(job, Job):
        return Scored(trained.status, trained.reason)
    if weights_to is not None:
        _copy(trained.weights, weights_to)
    try:
        return score_weights(MACHINE.server(), job, trained.weights, max_windows, emit, cancelled)
    except ServerDied as error:
        MACHINE.close()
        return Scored("crashed", f"crash: {error}")


def _measurement(
    trained: Trained,
    scored: Scored,
    job: Job | Trained,
    how: str,
    seed: int,
    budget: Budget,
    setting: Setting,
    probe: dict[str, Any],
    started: float,
) -> Measurement:
    failed = trained if trained.status != "ok" else scored
    corpus = job.corpus if isinstance(job, Job) else None
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
        losses=tuple(None if loss is None else round(loss, 6) for loss in trained.losses),
        trace=trained.trace,
        weights_sha256=trained.weights_sha256,
        seed=seed,
        isolation=setting.level,
        budget=str(budget),
        preset=setting.preset.name,
        how=how,
        pace=round(trained.pace, 4),
        leak_bound_bpb=scored.leak_bound_bpb,
        detail=trained.detail,
        output=trained.output,
        fingerprint=fingerprint.of(setting.device, setting.threads, probe, corpus),
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
            (trained,) = train_all([job], "alone", [_ignore], cancelled)
            try:
                scored = _score(job, trained, None, CHECK_WINDOWS, _ignore, cancelled)
            finally:
                trained.close()
    failed = trained if trained.status != "ok" else scored
    return CheckResult(
        ok=failed.status == "ok",
        status=failed.status,
        reason=failed.reason,
        detail=trained.detail,
        peak_memory_mb=trained.peak_memory_mb,
        params=trained.params,
        weights_sha256=trained.weights_sha256,
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
