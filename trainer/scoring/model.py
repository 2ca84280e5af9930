"""The scorer's side of a model's process: ids go in, losses come out. The other side is ``child``.

The process is confined and holds the candidate's weights. Ids and logits pass through memory that
the scorer made (memfds sealed against resizing, so that a child cannot make the scorer fault). The
scorer copies logits first, then normalises them. So whatever a child answers, the loss is that of a
probability distribution over the vocabulary.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import psutil
import torch

from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.scoring.losses import Ids, Losses, token_losses
from trainer.scoring.request import AnswerRequest, ScoreRequest

LOGITS_BYTES = 8 << 20
"""Logits of a batch on the CPU: few enough to fit its cache and to reuse memory between batches."""
DEVICE_LOGITS_BYTES = 64 << 20
_SLOTS = 2
ANSWER_SECONDS = 60.0
READY_SECONDS, READY_SHARE = 0.5, 0.02
"""Processor time to load weights: these seconds or this share of the budget, whichever is more."""
READY_SECONDS_PER_BYTE = 2.5e-9
"""Added because initial weights are drawn before the trained ones are loaded."""
DEVICE_READY_SECONDS = 10.0
"""Added to create a context on a device and load its kernels."""
ANSWERS_SECONDS, ANSWERS_SHARE = 5.0, 0.5
"""Processor time per thread for all answers: these seconds plus this share of the budget."""


class Refused(Exception):
    """The model cannot be scored or is not accepted; begins with the fixed name of the cause."""


def limits(job: ScoreRequest, weights_bytes: int) -> tuple[float, float]:
    """Seconds that an honest model needs to get ready and to answer, with a margin.

    Processor time, or clock time on a device. On a small CPU a model gets ready in about 0.1 s.
    """
    ready = max(READY_SECONDS, READY_SHARE * job.budget_seconds)
    ready += READY_SECONDS_PER_BYTE * weights_bytes
    if job.code.device != "cpu":
        ready += DEVICE_READY_SECONDS
    return ready, job.code.threads * (ANSWERS_SECONDS + ANSWERS_SHARE * job.budget_seconds)


class ModelProcess:
    """A fresh confined process with the candidate's weights; gives losses for ids."""

    def __init__(
        self,
        server: Channel,
        job: ScoreRequest,
        weights: int,
        windows: int,
        untrained: bool = False,
    ) -> None:
        """
        Args:
            windows: how many there are in all, which the time for answers is for.
            untrained: whether the model stays as ``build_model`` made it.
        """
        self._server, self._windows, self._asked_windows = server, windows, 0
        self._length, self._vocabulary = job.code.spec.seq_len, job.code.spec.vocab_size
        self._on_clock = job.code.device != "cpu"
        window = 4 * self._length * self._vocabulary
        self.rows = max(1, (DEVICE_LOGITS_BYTES if self._on_clock else LOGITS_BYTES) // window)
        self._ids_fd, self._ids = _shared(_SLOTS * self.rows * self._length * 8)
        self._out_fd, self._out = _shared(_SLOTS * self.rows * window)
        self._asked = False
        self._channel, theirs = Channel.pair()
        with theirs:
            server.send({"op": "spawn", "role": "eval", "id": 0}, [theirs.fileno()])
        self._process, self._spent = psutil.Process(server.receive(ANSWER_SECONDS)["pid"]), [0.0]
        self._say(asdict(job.confinement))
        self._expect("confined", job.startup_seconds)
        self._spent = [self._processor_seconds()]
        self._most_ready, self._most_answers = limits(job, os.fstat(weights).st_size)
        request = AnswerRequest(job.code, _SLOTS, self.rows, untrained)
        own = _copied(weights)
        self._say(asdict(request), [own, self._ids_fd, self._out_fd])
        os.close(own)
        self._expect("loaded", job.startup_seconds)

    def answers(
        self, ids: Ids, targets: Ids, emit: Callable[[dict[str, Any]], None] | None = None
    ) -> Losses:
        """Losses in nats, float64 [N, T], for ids and targets [N, T].

        Raises:
            Refused: there is no answer, or it is not a probability distribution.
        """
        losses = np.empty(ids.shape, dtype=np.float64)
        done = 0
        for batch in self.losses(ids, targets):
            if not np.isfinite(batch).all():
                raise Refused("non-finite: a logit is not a number, or a target has probability 0")
            losses[done : done + len(batch)] = batch
            done += len(batch)
            if emit is not None:
                emit({"event": "scoring", "fraction": done / len(ids)})
        self._asked_windows += len(ids)
        self._judge_effort()
        return losses

    def losses(self, ids: Ids, targets: Ids) -> Iterator[Losses]:
        """Losses in nats, float64 [at most ``rows``, T] at a time, for ids and targets [N, T].

        A target of -1 has the loss 0; if a logit is not a number, neither is the loss. The
        child computes one batch while the scorer normalises another.

        Raises:
            Refused: there is no answer, or it has another shape.
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

    def _take(self, slot: int, targets: Ids) -> Losses:
        self._expect("logits", ANSWER_SECONDS)
        self._spent.append(self._processor_seconds())
        row = self._length * self._vocabulary
        shared = torch.frombuffer(
            self._out,
            dtype=torch.float32,
            count=len(targets) * row,
            offset=4 * slot * self.rows * row,
        )
        losses = token_losses(
            shared.view(-1, self._vocabulary), torch.from_numpy(targets).flatten()
        )
        return losses.view(targets.shape).numpy().astype(np.float64)

    def _judge_effort(self) -> None:
        """Refuse a model that continues to learn during scoring, where no training clock runs.

        Checked are two durations since the model got its weights: of loading and the first answer,
        beyond the duration of a quick answer; and of all answers together.
        """
        answers = np.diff(self._spent)
        if len(answers) < 2:
            return
        first, total = float(answers[0] - answers[1:].min()), float(answers.sum())
        share = max(1.0, self._asked_windows / self._windows)
        for what, spent, most in (
            ("to get ready", first, self._most_ready),
            ("to answer", total, share * self._most_answers),
        ):
            if spent > most:
                raise Refused(f"eval-time: {spent:.1f} s {what}, at most {most:.1f}")

    def _processor_seconds(self) -> float:
        """Processor time of the child; clock time if the child works on another device."""
        if self._on_clock:
            return time.monotonic()
        try:
            times = self._process.cpu_times()
        except psutil.NoSuchProcess:
            return self._spent[-1]  # the next request will find that the child is gone
        return float(times.user + times.system)

    def close(self) -> None:
        """Kill the child and all that it started, so that it can pass nothing to the next one."""
        self._server.send({"op": "kill", "id": 0})
        self._server.receive(ANSWER_SECONDS)
        self._channel.close()
        for fd in (self._ids_fd, self._out_fd):
            os.close(fd)

    def _say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            self._channel.send(message, fds)
        except Gone:
            return  # what the child sent before its end can still be read
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
        # Once the child has seen validation text, its error messages are not passed on.
        words = "" if self._asked else f" ({message.get('error', message.get('reason', ''))})"
        raise Refused(f"eval-crash: the model failed before {event}{words}")


def _copied(weights: int) -> int:
    """The weights in a separate file: in a shared one, a process could leave data for another."""
    with os.fdopen(os.dup(weights), "rb") as file, tempfile.TemporaryFile() as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        # This opens the file again, read-only; on some systems it only duplicates the descriptor.
        return os.open(f"/dev/fd/{copy.fileno()}", os.O_RDONLY | os.O_CLOEXEC)


def _shared(size: int) -> tuple[int, mmap.mmap]:
    if sys.platform == "linux":
        fd = os.memfd_create("autoresearch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    else:  # without seals a child can end the scorer by truncation; then its training is refused
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
    return fd, mmap.mmap(fd, size)
