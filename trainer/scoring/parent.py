"""The trusted parent's side of scorings: saves weights, gives them to a scorer, takes the score."""

from __future__ import annotations

import base64
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import numpy as np

from trainer.data.prepare import Corpus, restore
from trainer.errors import UserError
from trainer.results import ScoringResult
from trainer.sandbox.client import ForkServer, ServerDied, ServerGaveUp
from trainer.sandbox.wire import Channel, Silent, WireError
from trainer.scoring.request import ScoreRequest
from trainer.training.job import Job, Trained
from trainer.training.machine import MACHINE
from trainer.training.process import WATCH_SECONDS

AUDIT_PASSES = 10
"""Time limit of the stronger audit, as a multiple of that of a scoring."""
NOISE_SHARE = 0.1
"""Of the noise of a difference: the stronger audit asks no more once its bound is as small."""
SCORINGS = 2
"""So often weights are scored whose scoring the scorer or the fork server did not survive. The end
of the model's own process does not count: it would buy new secret positions."""
STARTUP_SECONDS = 60.0
"""A child may take at least this long to load weights; a candidate gains nothing by it."""


def score_all(
    jobs: Sequence[Job | Trained],
    trainings: Sequence[Trained],
    weights_to: Sequence[Path | None],
    max_windows: int | None = None,
    champion_seconds: float = 0.0,
) -> list[ScoringResult]:
    """Score the weights of those that left any, save them where a path is given.

    The first is the champion, if there are more: the others may not answer much slower than it.
    """
    scored: list[ScoringResult] = []
    for job, trained, path in zip(jobs, trainings, weights_to, strict=True):
        if isinstance(job, Trained) or trained.weights is None:
            scored.append(ScoringResult(trained.status, trained.reason))
            continue
        if path is not None:
            _copy(trained.weights, path)
        champion = scored[0].answer_seconds if scored else champion_seconds
        scored.append(score(job, trained.weights.fileno(), max_windows, champion))
    return scored


def score(
    job: Job,
    weights: int,
    max_windows: int | None = None,
    champion_seconds: float = 0.0,
    claimed_bpb: float | None = None,
    audit_seconds: float = 0.0,
) -> ScoringResult:
    """Have ``weights`` (a descriptor open for reading) scored and audited; again if the scorer, or
    the server that starts it, died.

    Args:
        max_windows: score only this many windows, the first ones; None for all validation text.
        champion_seconds: what the champion's answers took; 0 where that is not known.
        claimed_bpb: the score that these weights got; if given, the stronger audit is made.
        audit_seconds: how long it may ask.
    """
    request = ScoreRequest(
        code=job.code,
        confinement=job.setting.confinement(None),
        tokens=str(job.corpus.val.tokens),
        text_bytes=job.corpus.val.n_bytes,
        budget_seconds=job.budget.seconds or job.setting.preset.budget.seconds or 0.0,
        startup_seconds=max(STARTUP_SECONDS, job.setting.preset.startup_seconds),
        max_windows=max_windows,
        champion_seconds=champion_seconds,
        claimed_bpb=claimed_bpb,
        audit_seconds=audit_seconds,
        enough_bpb=NOISE_SHARE * job.setting.preset.noise_numbers,
        by_document=bool(job.corpus.documents),
    )
    for _ in range(SCORINGS):
        restore(job.corpus)
        try:
            scored = _score_once(MACHINE.server(), job, weights, request)
        except ServerDied as error:
            MACHINE.close()
            scored = ScoringResult("crashed", f"crash: {error}")
            if isinstance(error, ServerGaveUp):
                break
        if scored.status != "crashed":
            break
    return scored


def _score_once(server: ForkServer, job: Job, weights: int, request: ScoreRequest) -> ScoringResult:
    started = time.monotonic()
    passes = 1 if request.claimed_bpb is None else AUDIT_PASSES
    seconds = passes * (120.0 + 4 * (job.setting.preset.budget.seconds or 0.0))
    channel, theirs = Channel.pair()
    server.limit(job.setting.preset.memory_mb, job.setting.preset.scratch_mb)
    died: ServerDied | None = None
    try:
        with theirs, server.connect() as scorers_line:
            server.spawn("score", [theirs.fileno(), 2, scorers_line.fileno()])
        channel.send(asdict(request), [weights])
        scored = _await(server, channel, job, time.monotonic() + seconds)
    except WireError:
        scored = ScoringResult("crashed", "scorer: the scorer ended without an answer")
    finally:
        channel.close()
        try:
            server.kill_all()
        except ServerDied as error:
            died = error
    if died is not None and scored.status == "crashed":
        raise died
    return replace(scored, seconds=time.monotonic() - started)


def _await(server: ForkServer, channel: Channel, job: Job, deadline: float) -> ScoringResult:
    next_watch = 0.0
    while (now := time.monotonic()) < deadline:
        if job.cancelled():
            return ScoringResult("killed", "cancelled")
        if now >= next_watch:
            next_watch = now + WATCH_SECONDS
            if (excess := server.excess()) is not None:
                return ScoringResult(excess[0], f"{excess[1]} of scoring")
        try:
            message = channel.receive(WATCH_SECONDS)
        except Silent:
            continue
        if message["event"] == "scoring":
            job.on_event(message)
        elif message["event"] == "score" and math.isfinite(message["val_bpb"]):
            return ScoringResult(
                "ok",
                "",
                message["val_bpb"],
                message["leak_bound_bpb"],
                answer_seconds=message.get("answer_seconds", 0.0),
                cuts=message.get("cuts", 0),
                documents=_documents(job.corpus, message.get("bits", ""), message["val_bpb"]),
            )
        elif (excess := server.excess()) is not None:  # before the check above saw it
            return ScoringResult(excess[0], f"{excess[1]} of scoring")
        else:
            return ScoringResult("invalid", str(message.get("reason", "non-finite: no score")))
    return ScoringResult("invalid", "eval-timeout: scoring took too long")


def _documents(corpus: Corpus, bits: str, val_bpb: float) -> tuple[tuple[str, int, float], ...]:
    """Group, bytes and bits of each document, where the scorer has told the bits."""
    if not bits:
        return ()
    each = np.frombuffer(base64.b64decode(bits), dtype="<f8").tolist()
    found = tuple((*of, cost) for of, cost in zip(corpus.documents, each, strict=True))
    if not math.isclose(sum(each), val_bpb * sum(size for _, size, _ in found), rel_tol=1e-9):
        raise AssertionError("the bits of the documents are not those of the text")
    return found


def _copy(file: IO[bytes], path: Path) -> None:
    """Copy an open file to ``path`` atomically.

    Raises:
        UserError: it cannot be written; nothing is left of it, so that there is space for others.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        try:
            with unfinished.open("wb") as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy, 1 << 20)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"the weights {path} could not be written: {error.strerror or error}; free space or "
            "make the folder writable, then run again"
        ) from error
