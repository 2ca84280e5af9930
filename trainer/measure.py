"""Measure one train.py, in the trusted parent process, which candidate code cannot reach.

``measure`` trains a source under a budget in a confined process, has its weights scored by another
process, and returns a ``Measurement``. ``check`` does the same with two steps and a few windows, to
reject what cannot work before a budget is spent. Neither imports torch, so the caller does not load
it either; the processes that they use are started once and stay warm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trainer import fingerprint
from trainer.data.choice import AUTO
from trainer.data.prepare import DataError, prepare, restore
from trainer.jobs import MOST_TRAININGS as MOST_TRAININGS
from trainer.jobs import job_of, progress_to, refuse_impossible, setting_of
from trainer.presets import Budget, parse_budget
from trainer.results import AuditResult as AuditResult
from trainer.results import CheckResult as CheckResult
from trainer.results import Measurement as Measurement
from trainer.results import Profile as Profile
from trainer.results import ScoringResult, TrainingResult
from trainer.sandbox.confine import SandboxError as SandboxError
from trainer.scoring.parent import score, score_all
from trainer.training.heat import fits as fits
from trainer.training.heat import how_to_train, train_all
from trainer.training.job import Job, OnEvent, Trained
from trainer.training.machine import MACHINE as MACHINE
from trainer.training.machine import Setting as Setting
from trainer.training.machine import resolve as resolve
from trainer.training.request import PROFILE_STEPS
from trainer.training.standstill import Measured, undisturbed
from trainer.training.watch import Watch as Watch

CHECK_STEPS = 2
CHECK_WINDOWS = 8
AUDIT_SHARE = 2.0
"""Of the time of a training: so long the stronger audit may ask."""


def measure(
    source: str,
    *,
    budget: str | Budget | None = None,
    seed: int = 0,
    preset: str = "auto",
    data: str = AUTO,
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
        split: ``test`` scores on the sealed test text, which is read when all trainings are over.
            Whoever asks for it counts the opening first.
        trace: a recorded clock (``Measurement.trace``) to use instead of the real one.
        data: a corpus; ``auto`` is the preset's, or apidocs where that cannot be had.
        on_event: called for ``note`` (a line for the user), ``preparing``, ``ready``, ``log``,
            ``scoring`` as they happen.
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
    data: str = AUTO,
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
    champion_seconds: float = 0.0,
) -> list[Measurement]:
    """Train ``sources`` side by side and score each; the first is the champion.

    Under a time budget only one trains at a time, for about 1 % of the budget, then the next; each
    has a clock of its own, so that a change of the machine's pace meets all of them. Trainings that
    do not fit into memory together, and those under a token budget, run one after the other.

    Args:
        seed: one for all, or one for each.
        split: as of ``measure``.
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
        champion_seconds: what the champion's answers are known to take (``answer_seconds``), for a
            candidate that is trained without it; among several, those of the first count.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be measured; the message says what to do.
    """
    seeds = [seed] * len(sources) if isinstance(seed, int) else list(seed)
    traces = [trace] if isinstance(trace, str) else list(trace or [None] * len(sources))
    paths = [None] * len(sources) if weights_to is None else weights_to
    refuse_impossible(len(sources), seeds, traces, paths, split)
    setting = setting_of(preset, device, isolation, data, on_event)
    spend = setting.preset.budget if budget is None else budget
    spend = parse_budget(spend) if isinstance(spend, str) else spend
    numbers: Sequence[int | None] = range(len(seeds)) if len(seeds) > 1 else [None]
    with MACHINE:
        probe = MACHINE.probe()  # first: its process takes a moment to end
        jobs = [
            job_of(setting, spend, *of, on_event, cancel)
            for of in zip(sources, seeds, traces, numbers, strict=True)
        ]
        started = time.monotonic()
        how = how_to_train(jobs, peak_memory_mb)
        to_score = list(jobs)

        def once() -> Measured:
            with train_all(jobs, how, watch, champion_first) as trained:
                _restore(jobs, trained)
                if split == "test":
                    to_score[:] = map(_opened, jobs, trained)
                return trained, score_all(
                    to_score, trained, paths, champion_seconds=champion_seconds
                )

        trained, scored = undisturbed(once, on_event, cancel, spend.seconds is not None)
    return [
        Measurement(
            **_training_result(one, score),
            val_bpb=score.val_bpb,
            score_seconds=round(score.seconds, 4),
            answer_seconds=round(score.answer_seconds, 4),
            wall_seconds=round(time.monotonic() - started, 4),
            seed=own_seed,
            isolation=setting.level,
            budget=str(spend),
            preset=setting.preset.name,
            data=setting.data,
            val_bytes=job.corpus.val.n_bytes if isinstance(job, Job) else 0,
            how=how,
            leak_bound_bpb=score.leak_bound_bpb,
            fingerprint=fingerprint.of(
                setting, probe, job.corpus if isinstance(job, Job) else None
            ),
            documents=score.documents,
        )
        for job, one, score, own_seed in zip(to_score, trained, scored, seeds, strict=True)
    ]


def _restore(jobs: Sequence[Job | Trained], trainings: Sequence[Trained]) -> None:
    """Make the data again if they were deleted or damaged during the trainings.

    Raises:
        DataError: they cannot be made again, or a training may have failed because of it.
    """
    lost = [job.corpus.source for job in jobs if isinstance(job, Job) and restore(job.corpus)]
    if lost and any(trained.status == "crashed" for trained in trainings):
        raise DataError(
            f"the prepared data of {lost[0]} were damaged during a training, which crashed: they "
            "are prepared again, so run again"
        )


def _opened(job: Job | Trained, trained: Trained) -> Job | Trained:
    """The training with the sealed test text to score on, where it has left weights to score.

    This process reads that text when every process of the trainings is gone. No path, descriptor
    or size of it is in anything that a training is told.
    """
    if isinstance(job, Trained) or trained.weights is None:
        return job
    corpus = prepare(
        job.corpus.source,
        vocab_size=job.corpus.vocab_size,
        val_bytes=job.setting.preset.val_bytes,
        split="test",
        progress=progress_to(job.on_event),
    )
    return replace(job, corpus=corpus)


def _training_result(trained: Trained, scored: ScoringResult) -> dict[str, Any]:
    """The fields of a ``TrainingResult``, after the scoring."""
    told = {field.name: getattr(trained, field.name) for field in fields(TrainingResult)}
    return {**told, "status": scored.status, "reason": scored.reason}


def check(
    source: str,
    *,
    seed: int = 0,
    preset: str = "auto",
    data: str = AUTO,
    device: str = "auto",
    isolation: str = "auto",
    cancel: threading.Event | None = None,
) -> CheckResult:
    """Run two real steps (smoke, memory) and audit a few windows (causality); spend no budget.

    What it compiles is lent to the trainings of this source, where the preset compiles.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be checked.
    """
    setting = setting_of(preset, device, isolation, data)
    with MACHINE:
        job = job_of(setting, Budget(steps=CHECK_STEPS), source, seed, cancel=cancel)

        def once() -> Measured:
            with train_all([job], "alone") as trained:
                return trained, score_all([job], trained, [None], CHECK_WINDOWS)

        (trained,), (scored,) = undisturbed(once, None, cancel, timed=False)
    return CheckResult(**_training_result(trained, scored))


def profile(
    source: str,
    *,
    seed: int = 0,
    preset: str = "auto",
    data: str = AUTO,
    device: str = "auto",
    isolation: str = "auto",
    cancel: threading.Event | None = None,
) -> Profile:
    """Train a few steps that look at themselves: where their time goes, and norms of the weights.

    It is a training of its own, of which nothing counts: no other is the slower for it.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be trained.
    """
    setting = setting_of(preset, device, isolation, data)
    with MACHINE:
        job = job_of(setting, Budget(steps=PROFILE_STEPS), source, seed, cancel=cancel)
        job = replace(job, profiles=True) if isinstance(job, Job) else job
        with train_all([job], "alone") as (trained,):
            return trained.profile or Profile(trained.status, trained.reason)


def audit(
    source: str,
    weights: Path,
    claimed_bpb: float,
    *,
    preset: str = "auto",
    data: str = AUTO,
    device: str = "auto",
    isolation: str = "auto",
    train_seconds: float | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> AuditResult:
    """Run the stronger audit on weights to be kept: only prefixes, at many secret positions.

    Args:
        source: the train.py that made the weights.
        weights: the file that ``measure(weights_to=...)`` saved.
        claimed_bpb: the score that the weights got.
        train_seconds: what the training took; None for the preset's budget. The audit asks as many
            positions as take AUDIT_SHARE of this, fewer where these do.

    Raises:
        BadSetting, DataError, SandboxError: nothing could be audited.
        OSError: the weights cannot be read.
    """
    setting = setting_of(preset, device, isolation, data, on_event)
    with MACHINE, weights.open("rb") as file:
        job = job_of(setting, setting.preset.budget, source, on_event=on_event, cancel=cancel)
        if isinstance(job, Trained):
            scored = ScoringResult(job.status, job.reason)
        else:
            seconds = train_seconds
            if seconds is None:
                seconds = setting.preset.budget.seconds or 0.0
            scored = score(
                job,
                file.fileno(),
                claimed_bpb=claimed_bpb,
                audit_seconds=AUDIT_SHARE * seconds,
            )
    return AuditResult(
        ok=scored.status == "ok",
        status=scored.status,
        reason=scored.reason,
        leak_bound_bpb=scored.leak_bound_bpb,
        seconds=scored.seconds,
        cuts=scored.cuts,
    )
