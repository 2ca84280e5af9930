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
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
import torch

from trainer.contract import Code
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.scoring.losses import Ids, Losses, token_losses
from trainer.scoring.request import AnswerRequest, ScoreRequest

LOGITS_BYTES = 8 << 20
"""Logits of a batch on the CPU: few enough to fit its cache and to reuse memory between batches."""
DEVICE_LOGITS_BYTES = 64 << 20
DEVICE_CUT_BYTES = 512 << 20
"""Logits of a batch on a device of which one position a window is returned: many, so that it is not
kernels' launches that take the time; they stay on the device."""
_SLOTS = 2
ANSWER_SECONDS = 60.0
READY_SECONDS, READY_SHARE = 0.5, 0.02
"""Processor time to load weights: these seconds or this share of the budget, whichever is more."""
READY_SECONDS_PER_BYTE = 2.5e-9
"""Added because initial weights are drawn before the trained ones are loaded."""
DEVICE_READY_SECONDS = 10.0
"""Added to create a context on a device and load its kernels."""
ANSWERS_SECONDS, ANSWERS_SHARE = 2.0, 0.1
"""Time for all answers: these seconds plus this share of the budget, on the CPU for each thread."""


class Refused(Exception):
    """The model cannot be scored or is not accepted; begins with the fixed name of the cause."""


@dataclass(frozen=True)
class Limits:
    """Seconds that any honest model needs, with a margin: of processor time, on a device of clock.

    A champion's own time, where it is known, is a tighter limit on the answers: see ``scorer``.
    """

    ready: float
    """To load the weights; on a small CPU a model takes about 0.1 s."""
    answers: float
    """For all answers of one scoring."""


def limits(code: Code, budget_seconds: float, weights_bytes: int) -> Limits:
    """What a model may take under a budget."""
    ready = max(READY_SECONDS, READY_SHARE * budget_seconds)
    ready += READY_SECONDS_PER_BYTE * weights_bytes
    answers = ANSWERS_SECONDS + ANSWERS_SHARE * budget_seconds
    if code.device == "cpu":
        return Limits(ready, code.threads * answers)
    return Limits(ready + DEVICE_READY_SECONDS, answers)


@dataclass(frozen=True)
class Batch:
    """Windows that are asked together."""

    ids: Ids
    """[rows, length]"""
    targets: Ids
    """[rows, length], or [rows] where only one position of each window is asked for."""
    at: Ids | None = None
    """These positions [rows]; None for all."""


class ModelProcess:
    """A fresh confined process with the candidate's weights; gives losses for ids."""

    def __init__(
        self,
        server: Channel,
        job: ScoreRequest,
        weights: int,
        tokens: int,
        untrained: bool = False,
    ) -> None:
        """
        Args:
            tokens: how many there are in all, which the time for answers is for.
            untrained: whether the model stays as ``build_model`` made it.
        """
        self._server, self._tokens, self._asked_tokens = server, tokens, 0
        self._length, self._vocabulary = job.code.spec.seq_len, job.code.spec.vocab_size
        self._on_clock = job.code.device != "cpu"
        logits = DEVICE_LOGITS_BYTES if self._on_clock else LOGITS_BYTES
        cut_logits = DEVICE_CUT_BYTES if self._on_clock else LOGITS_BYTES
        # Tokens of a batch; there is room for one whole window at least.
        self._room = max(self._length, logits // (4 * self._vocabulary))
        self._cut_room = max(self._length, cut_logits // (4 * self._vocabulary))
        self._ids_bytes = 8 * max(self._room, self._cut_room)
        self._out_bytes = 4 * self._vocabulary * self._room
        self._ids_fd, self._ids = _shared(_SLOTS * self._ids_bytes)
        self._out_fd, self._out = _shared(_SLOTS * self._out_bytes)
        self._asked = False
        self._channel, theirs = Channel.pair()
        with theirs:
            server.send({"op": "spawn", "role": "eval", "id": 0}, [theirs.fileno()])
        self._pid, self._spent = server.receive(ANSWER_SECONDS)["pid"], [0.0]
        self._say(asdict(job.confinement))
        self._expect("confined", job.startup_seconds)
        self._spent = [self.seconds()]
        self._limits = limits(job.code, job.budget_seconds, os.fstat(weights).st_size)
        request = AnswerRequest(job.code, _SLOTS, untrained)
        own = _copied(weights)
        self._say(asdict(request), [own, self._ids_fd, self._out_fd])
        os.close(own)
        self._expect("loaded", job.startup_seconds)

    def rows(self, length: int) -> int:
        """Windows of a batch of which all logits are returned."""
        return max(1, self._room // length)

    def cut_rows(self, length: int) -> int:
        """Windows of a batch of which the logits at one position each are returned."""
        return max(1, min(self._cut_room // length, self._room))

    def answers(
        self, ids: Ids, targets: Ids, emit: Callable[[dict[str, Any]], None] | None = None
    ) -> Losses:
        """Losses in nats, float64 [N, L], for ids and targets [N, L].

        Raises:
            Refused: there is no answer, or it is not a probability distribution.
        """
        losses = np.empty(ids.shape, dtype=np.float64)
        done = 0
        for batch in self.losses(ids, targets):
            losses[done : done + len(batch)] = finite(batch)
            done += len(batch)
            if emit is not None:
                emit({"event": "scoring", "fraction": done / len(ids)})
        self._judge_effort()
        return losses

    def losses(self, ids: Ids, targets: Ids) -> Iterator[Losses]:
        """Losses in nats, float64 [at most ``rows``, L] at a time, for ids and targets [N, L].

        A target of -1 has the loss 0; if a logit is not a number, neither is the loss.

        Raises:
            Refused: there is no answer, or it has another shape.
        """
        rows = self.rows(ids.shape[1])
        starts = range(0, len(ids), rows)
        return self.ask(Batch(ids[i : i + rows], targets[i : i + rows]) for i in starts)

    def ask(self, batches: Iterable[Batch]) -> Iterator[Losses]:
        """Losses in nats, float64 of the shape of the batch's targets, batch by batch.

        The child computes one batch while the scorer normalises another.

        Raises:
            Refused: there is no answer, or it has another shape.
        """
        waiting: tuple[int, Batch] | None = None
        for number, batch in enumerate(batches):
            slot = number % _SLOTS
            rows, length = batch.ids.shape
            self._ids.seek(slot * self._ids_bytes)
            self._ids.write(batch.ids.astype("<i8").tobytes())
            self._asked = True
            self._asked_tokens += rows * length
            at = None if batch.at is None else batch.at.tolist()
            self._say({"slot": slot, "rows": rows, "length": length, "at": at})
            if waiting is not None:
                yield self._take(*waiting)
            waiting = slot, batch
        if waiting is not None:
            yield self._take(*waiting)

    def _take(self, slot: int, batch: Batch) -> Losses:
        self._expect("logits", ANSWER_SECONDS, batch.ids.shape[1])
        self._spent.append(self.seconds())
        shared = torch.frombuffer(
            self._out,
            dtype=torch.float32,
            count=batch.targets.size * self._vocabulary,
            offset=slot * self._out_bytes,
        )
        targets = torch.from_numpy(batch.targets).flatten()
        losses = token_losses(shared.view(-1, self._vocabulary), targets)
        return losses.view(batch.targets.shape).numpy().astype(np.float64)

    def effort(self) -> tuple[float, float]:
        """Seconds so far to get ready and to answer: of processor time, on a device of the clock.

        The first answer comes with what is done once; a quick one is subtracted from it.
        """
        answers = np.diff(self._spent)
        if len(answers) < 2:
            return 0.0, float(answers.sum())
        ready = float(answers[0] - answers[1:].min())
        return ready, float(answers.sum()) - ready

    def _judge_effort(self) -> None:
        """Refuse a model that continues to learn during scoring, where no training clock runs."""
        ready, answering = self.effort()
        share = max(1.0, self._asked_tokens / self._tokens)
        for what, spent, most in (
            ("to get ready", ready, self._limits.ready),
            ("to answer", answering, share * self._limits.answers),
        ):
            if spent > most:
                raise Refused(f"eval-time: {spent:.1f} s {what}, at most {most:.1f}")

    def seconds(self) -> float:
        """Processor time of the child; clock time if the child works on another device."""
        if self._on_clock:
            return time.monotonic()
        try:
            return process_seconds(self._pid)
        except ProcessLookupError:
            return self._spent[-1]  # the next request will find that the child is gone

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

    def _expect(self, event: str, seconds: float, length: int = 0) -> None:
        try:
            message = self._channel.receive(seconds)
        except Silent:
            raise Refused(f"eval-timeout: no {event} within {seconds:g} s") from None
        except WireError:
            raise Refused(f"eval-crash: the model's process ended before {event}") from None
        if message.get("event") == event:
            return
        if message.get("event") == "shape":
            raise Refused(f"shape: forward() must return [B, {length}, {self._vocabulary}] logits")
        # Once the child has seen validation text, its error messages are not passed on.
        words = "" if self._asked else f" ({message.get('error', message.get('reason', ''))})"
        raise Refused(f"eval-crash: the model failed before {event}{words}")


def finite(losses: Losses) -> Losses:
    """The losses as they are.

    Raises:
        Refused: one is not a number.
    """
    if not np.isfinite(losses).all():
        raise Refused("non-finite: a logit is not a number, or a target has probability 0")
    return losses


def process_seconds(pid: int) -> float:
    """Processor time of a process, all its threads.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        if platform.system() == "Linux":  # not psutil: /proc counts hundredths of a second
            return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) gives
        times = psutil.Process(pid).cpu_times()
    except (OSError, psutil.NoSuchProcess) as error:
        raise ProcessLookupError(pid) from error
    return float(times.user + times.system)


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
