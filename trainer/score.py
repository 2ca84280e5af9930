"""The trusted scorer: bits per byte of validation text, in a process of its own.

It never imports candidate code. It owns the validation tokens, the batching and the denominator,
starts a confined child that holds the candidate's weights, and asks that child for logits through
shared memory of its own making (memfds sealed against resizing, so that a child cannot make it
fault). It copies first, then checks, then normalises: whatever a child answers, the loss is that of
a probability distribution over the vocabulary.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from trainer import audits
from trainer.wire import Channel, Gone, Silent, WireError, printable

LOGITS_BYTES = 8 << 20
"""Of a batch on the CPU: small enough for its cache, and for memory that is not fresh each time."""
DEVICE_LOGITS_BYTES = 64 << 20
_SLOTS = 2
ANSWER_SECONDS = 60.0
AUDITED_WINDOWS = 48

Ids = npt.NDArray[np.int64]


class Refused(Exception):
    """The model cannot be scored or is not believed; begins with the fixed name of the cause."""


def main(control: Channel, server: Channel) -> int:
    """Take one job, answer with one score or one refusal; returns the exit status."""
    job = control.receive(want_fds=True)
    (weights,) = control.take_fds()
    torch.set_num_threads(job["threads"])
    try:
        tokens = np.fromfile(Path(job["val"]["tokens"]), dtype="<u2").astype(np.int64)
        answer = score(job, tokens, lambda: EvalChild(server, job, weights), control.send)
    except Refused as error:
        answer = {"event": "refused", "reason": printable(str(error), 500)}
    control.send(answer)
    return 0


class EvalChild:
    """A fresh confined process with the candidate's weights; answers ids with losses."""

    def __init__(self, server: Channel, job: Mapping[str, Any], weights: int) -> None:
        spec = job["spec"]
        self._server = server
        self._length, self._vocabulary = spec["seq_len"], spec["vocab_size"]
        window = 4 * self._length * self._vocabulary
        room = LOGITS_BYTES if job["device"] == "cpu" else DEVICE_LOGITS_BYTES
        self.rows = max(1, room // window)
        self._ids_fd, self._ids = _shared(_SLOTS * self.rows * self._length * 8)
        self._out_fd, self._out = _shared(_SLOTS * self.rows * window)
        self._asked = False
        self._channel, theirs = Channel.pair()
        with theirs:
            server.send({"op": "spawn", "role": "eval", "id": 0}, [theirs.fileno()])
        server.receive(ANSWER_SECONDS)
        self._say({"level": job["level"], "readable": job["readable"], "scratch": None})
        self._expect("confined", job["startup_seconds"])
        message = {
            "source": job["source"],
            "spec": spec,
            "device": job["device"],
            "threads": job["threads"],
            "slots": _SLOTS,
            "rows": self.rows,
        }
        self._say(message, [weights, self._ids_fd, self._out_fd])
        self._expect("loaded", job["startup_seconds"])

    def losses(self, ids: Ids, targets: Ids) -> Iterator[audits.Losses]:
        """Losses in nats, float64 [at most ``rows``, T] at a time, for ids and targets [N, T].

        A target of -1 has the loss 0. The child computes one batch while another is normalised.

        Raises:
            Refused: no answer, or not one that is a probability distribution.
        """
        waiting: tuple[int, Ids] | None = None
        for number, start in enumerate(range(0, len(ids), self.rows)):
            batch = ids[start : start + self.rows]
            slot = number % _SLOTS
            self._ids.seek(slot * self.rows * self._length * 8)
            self._ids.write(batch.astype("<i8").tobytes())
            self._asked = True
            self._say({"slot": slot, "rows": len(batch)})
            if waiting is not None:
                yield self._take(*waiting)
            waiting = slot, targets[start : start + self.rows]
        if waiting is not None:
            yield self._take(*waiting)

    def _take(self, slot: int, targets: Ids) -> audits.Losses:
        self._expect("logits", ANSWER_SECONDS)
        row = self._length * self._vocabulary
        shared = torch.frombuffer(
            self._out,
            dtype=torch.float32,
            count=len(targets) * row,
            offset=4 * slot * self.rows * row,
        )
        # Not logsumexp minus logit: with logits so large that their sum's logarithm is lost in
        # rounding, that is 0 for every token.
        losses = F.cross_entropy(
            shared.clone().view(-1, self._vocabulary),
            torch.from_numpy(targets).flatten(),
            ignore_index=-1,
            reduction="none",
        )
        if not bool(torch.isfinite(losses).all()):
            raise Refused("non-finite: a logit is not a number, or a target has probability 0")
        return losses.view(targets.shape).numpy().astype(np.float64)

    def close(self) -> None:
        """Kill the child and all that it started, so that it can tell the next one nothing."""
        self._server.send({"op": "kill", "id": 0})
        self._server.receive(ANSWER_SECONDS)
        self._channel.close()
        for fd in (self._ids_fd, self._out_fd):
            os.close(fd)

    def _say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            self._channel.send(message, fds)
        except Gone:
            return  # what it said before its end is still to be read
        except WireError:
            raise Refused("eval-timeout: the model's process does not read") from None

    def _expect(self, event: str, seconds: float) -> None:
        try:
            message = self._channel.receive(seconds)
        except Silent:
            raise Refused(f"eval-timeout: no {event} within {seconds:g} s") from None
        except WireError:
            raise Refused(f"eval-crash: the model's process ended before {event}") from None
        if message.get("event") == event:
            return
        if message.get("event") == "shape":
            raise Refused(
                f"shape: forward() must return [B, {self._length}, {self._vocabulary}] logits"
            )
        # Once it has seen validation text, its words are not passed on.
        words = "" if self._asked else f" ({message.get('error', message.get('reason', ''))})"
        raise Refused(f"eval-crash: the model failed before {event}{words}")


def _shared(size: int) -> tuple[int, mmap.mmap]:
    if sys.platform == "linux":
        fd = os.memfd_create("autoresearch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    else:  # without seals a child that truncates ends the scorer, and its training is refused
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
    return fd, mmap.mmap(fd, size)


def windows(tokens: Ids, length: int, bos: int) -> tuple[Ids, Ids]:
    """Cut a token stream into ids and targets, int64 [N, length], each token a target once.

    Targets that are not scored (BOS, padding) are -1.
    """
    count = -(-(len(tokens) - 1) // length)
    padded = np.full(count * length + 1, bos, dtype=np.int64)
    padded[: len(tokens)] = tokens
    ids = padded[:-1].reshape(count, length)
    targets = padded[1:].reshape(count, length).copy()
    targets[targets == bos] = -1
    return ids, targets


def score(
    job: Mapping[str, Any],
    tokens: Ids,
    start_child: Callable[[], EvalChild],
    emit: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Score all of ``tokens`` with one child, audit with a fresh one.

    Raises:
        Refused: the model fails, or an audit does not believe it.
    """
    length, bos = job["spec"]["seq_len"], job["spec"]["vocab_size"] - 1
    limit = job.get("max_windows")
    if limit is not None:
        tokens = tokens[: limit * length + 1]
    ids, targets = windows(tokens, length, bos)
    scored = targets >= 0
    if int(scored.sum()) != int((tokens[1:] != bos).sum()):
        raise AssertionError("the windows do not score each token once")
    with contextlib.closing(start_child()) as child:
        real = _all_losses(child, ids, targets, emit)
    nats = float(real[scored].sum())
    with contextlib.closing(start_child()) as fresh:
        bound = _audit(fresh, ids, targets, real)
    text_bytes = job["val"]["text_bytes"]
    return {
        "event": "score",
        "val_bpb": nats / math.log(2) / text_bytes,
        "tokens": int(scored.sum()),
        "leak_bound_bpb": bound * int(scored.sum()) / math.log(2) / text_bytes,
    }


def _all_losses(
    child: EvalChild, ids: Ids, targets: Ids, emit: Callable[[dict[str, Any]], None] | None = None
) -> audits.Losses:
    losses = np.empty(ids.shape, dtype=np.float64)
    done = 0
    for batch in child.losses(ids, targets):
        losses[done : done + len(batch)] = batch
        done += len(batch)
        if emit is not None:
            emit({"event": "scoring", "fraction": done / len(ids)})
    return losses


def _audit(fresh: EvalChild, ids: Ids, targets: Ids, real: audits.Losses) -> float:
    """Ask a fresh child again, in another order and company, some with another future.

    Returns the bound in nats per token on what a leak could be worth.
    """
    dice = random.Random(secrets.randbits(64))
    rows = np.array(dice.sample(range(len(ids)), min(AUDITED_WINDOWS, len(ids))))
    cuts = np.array([_cut(dice, targets[row]) for row in rows])
    changed = ids[rows]
    for window, cut in zip(changed, cuts, strict=True):
        other = np.roll(ids[dice.randrange(len(ids))], dice.randrange(ids.shape[1]))
        window[cut + 1 :] = other[cut + 1 :]
    again = rows[: len(rows) // 2 + 1]
    asked = np.concatenate([changed, ids[again]])
    of = np.concatenate([rows, again])
    order = np.array(dice.sample(range(len(asked)), len(asked)))
    moved = np.empty(asked.shape, dtype=np.float64)
    moved[order] = _all_losses(fresh, asked[order], targets[of[order]]) - real[of[order]]
    scored = targets[of] >= 0
    count = len(rows)
    before = scored[:count] & (np.arange(ids.shape[1]) < cuts[:, None])
    findings = (
        audits.state(moved[count:][scored[count:]]),
        audits.causality(moved[np.arange(count), cuts], moved[:count][before]),
    )
    for finding in findings:
        if not finding.ok:
            raise Refused(finding.reason)
    return max(finding.bound_nats for finding in findings)


def _cut(dice: random.Random, targets: Ids) -> int:
    """A secret position with a scored target; half of them in the last quarter of the window."""
    length = len(targets)
    low = length * 3 // 4 if dice.random() < 0.5 else 0
    candidates = [t for t in range(low, length - 1) if targets[t] >= 0]
    return dice.choice(candidates or [t for t in range(length) if targets[t] >= 0] or [0])
