"""The trusted scorer: bits per byte of validation text, in a process of its own.

It never imports candidate code. It owns the validation tokens, the batching and the denominator,
and asks confined processes that hold the candidate's weights (``model``): one for the score, a
fresh one for the audits (``questions``).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.sandbox.wire import Channel, record
from trainer.scoring import questions
from trainer.scoring.losses import Ids, Losses, cut_windows
from trainer.scoring.model import ModelProcess, Refused
from trainer.scoring.request import ScoreRequest
from trainer.scoring.statistics import MEAN_NATS, Finding
from trainer.untrusted import printable


def main(control: Channel, fds: list[int]) -> int:
    """Take one job, answer with one score or one refusal; returns the exit status.

    The third of the descriptors is a connection to the fork server, to start children.
    """
    server = Channel.from_fd(fds[2])
    job = record(ScoreRequest, control.receive(want_fds=True))
    (weights,) = control.take_fds()
    # On the CPU the model's process needs all threads: it computes the next batch meanwhile.
    torch.set_num_threads(1 if job.code.device == "cpu" else job.code.threads)
    try:
        tokens = np.fromfile(Path(job.tokens), dtype="<u2").astype(np.int64)
        windows = max(1, len(tokens) // job.code.spec.seq_len)
        task = Task(job, tokens, partial(ModelProcess, server, job, weights, windows), control.send)
        answer = score(task) if job.claimed_bpb is None else audit(task, job.claimed_bpb)
    except Refused as error:
        answer = {"event": "refused", "reason": printable(str(error), 500)}
    control.send(answer)
    return 0


class Task:
    """The text to score, and how to start a child that answers."""

    def __init__(
        self,
        job: ScoreRequest,
        tokens: Ids,
        start_child: Callable[..., ModelProcess],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        length, self.bos = job.code.spec.seq_len, job.code.spec.vocab_size - 1
        self.whole = job.max_windows is None
        if job.max_windows is not None:
            tokens = tokens[: job.max_windows * length + 1]
        self.start_child, self.emit = start_child, emit
        self.text_bytes = job.text_bytes
        self.ids, self.targets = cut_windows(tokens, length, self.bos)
        self.scored = self.targets >= 0
        self.tokens = int(self.scored.sum())
        if self.tokens != int((tokens[1:] != self.bos).sum()):
            raise AssertionError("the windows do not score each token once")

    def real(self) -> Losses:
        """Losses of all windows, in order, from a separate child."""
        with contextlib.closing(self.start_child()) as child:
            return child.answers(self.ids, self.targets, self.emit)

    def bpb(self, nats: float) -> float:
        """Bits per byte of text from nats per token."""
        return nats * self.tokens / math.log(2) / self.text_bytes


def score(task: Task) -> dict[str, Any]:
    """Score all windows with one child, audit with a fresh one.

    Raises:
        Refused: the model cannot be scored, or it does not pass an audit.
    """
    real = task.real()
    movement = _movement(task, real)
    with contextlib.closing(task.start_child()) as fresh:
        bound = questions.ask_again(fresh, task.ids, task.targets, real)
    if movement is not None:  # last: a cheat that needs no training is named by its own audit
        questions.believe(movement)
    return {
        "event": "score",
        "val_bpb": task.bpb(float(real[task.scored].mean())),
        "leak_bound_bpb": task.bpb(bound),
    }


def _movement(task: Task, real: Losses) -> Finding | None:
    """How training changed the losses; None where that cannot be measured.

    Two training steps do not show in a loss. A model may need its weights to answer at all.
    """
    if not task.whole:
        return None
    with contextlib.closing(task.start_child(untrained=True)) as untrained:
        try:
            return questions.compare_untrained(untrained, task.ids, task.targets, real)
        except Refused as refused:
            if str(refused).startswith("eval-crash"):
                return None
            raise


def audit(task: Task, claimed_bpb: float) -> dict[str, Any]:
    """Score again, then ask a fresh child at many secret positions with the prefix alone.

    Raises:
        Refused: the new score differs, or the model does not pass the audit.
    """
    real = task.real()
    val_bpb = task.bpb(float(real[task.scored].mean()))
    if abs(val_bpb - claimed_bpb) > task.bpb(MEAN_NATS):
        raise Refused(f"state: scored again, {claimed_bpb:.4f} bits per byte are {val_bpb:.4f}")
    with contextlib.closing(task.start_child()) as fresh:
        bound = questions.ask_with_prefixes(
            fresh, task.ids, task.targets, real, task.bos, task.emit
        )
    return {"event": "score", "val_bpb": val_bpb, "leak_bound_bpb": task.bpb(bound)}
