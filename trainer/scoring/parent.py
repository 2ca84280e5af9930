"""The trusted parent's side of a scoring: starts the scorer, gives it weights, takes the score."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace

from trainer.data.prepare import restore
from trainer.results import ScoringResult
from trainer.sandbox.client import ForkServer, ServerDied, ServerGaveUp
from trainer.sandbox.wire import Channel, Silent, WireError
from trainer.scoring.request import ScoreRequest
from trainer.training.job import Job
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


def score(
    job: Job,
    weights: int,
    max_windows: int | None = None,
    champion_seconds: float = 0.0,
    claimed_bpb: float | None = None,
    audit_seconds: float = 0.0,
) -> ScoringResult:
    """As ``score_weights``, below the machine's server, and again if that or the scorer died."""
    how = (max_windows, champion_seconds, claimed_bpb, audit_seconds)
    for _ in range(SCORINGS):
        restore(job.corpus)
        try:
            scored = score_weights(MACHINE.server(), job, weights, *how)
        except ServerDied as error:
            MACHINE.close()
            scored = ScoringResult("crashed", f"crash: {error}")
            if isinstance(error, ServerGaveUp):
                break
        if scored.status != "crashed":
            break
    return scored


def score_weights(
    server: ForkServer,
    job: Job,
    weights: int,
    max_windows: int | None = None,
    champion_seconds: float = 0.0,
    claimed_bpb: float | None = None,
    audit_seconds: float = 0.0,
) -> ScoringResult:
    """Have ``weights`` (a descriptor open for reading) scored and audited.

    Args:
        max_windows: score only this many windows, the first ones; None for all validation text.
        champion_seconds: what the champion's answers took; 0 where that is not known.
        claimed_bpb: the score that these weights got; if given, the stronger audit is made.
        audit_seconds: how long it may ask.
    """
    started = time.monotonic()
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
    )
    passes = 1 if claimed_bpb is None else AUDIT_PASSES
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
            )
        elif (excess := server.excess()) is not None:  # before the check above saw it
            return ScoringResult(excess[0], f"{excess[1]} of scoring")
        else:
            return ScoringResult("invalid", str(message.get("reason", "non-finite: no score")))
    return ScoringResult("invalid", "eval-timeout: scoring took too long")
