"""The trusted scorer: bits per byte of validation text, in a process of its own.

It never imports candidate code. It owns the validation tokens, the batching and the denominator,
and asks confined processes that hold the candidate's weights (``model``): one for the score, a
fresh one for the audits (``questions``, and before a keep ``prefixes``).
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.sandbox.wire import Channel, record
from trainer.scoring import prefixes, questions
from trainer.scoring.losses import Ids, Losses, cut_windows
from trainer.scoring.model import ModelProcess, Refused
from trainer.scoring.request import ScoreRequest
from trainer.scoring.statistics import MEAN_NATS, Finding, cuts_for
from trainer.untrusted import printable

ANSWERS_FACTOR, ANSWERS_SLACK = 3.0, 0.1
"""A model's answers may take so many times as long as the champion's, and these seconds: of
processor time, on a device of the clock. To learn from each window before it answers (test-time
training) takes four times as long as to answer, an ensemble of K models K times."""
ATTEMPTS = 3
"""Scorings of which the quickest counts: what else runs on a machine makes one slower."""


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
        start_child = partial(ModelProcess, server, job, weights, len(tokens))
        task = Task(job, tokens, start_child, control.send)
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
        self.job, self.start_child, self.emit = job, start_child, emit
        self.starts = np.flatnonzero(tokens == self.bos)
        self.ids, self.targets = cut_windows(tokens, length, self.bos)
        self.scored = self.targets >= 0
        self.tokens = int(self.scored.sum())
        if self.tokens != int((tokens[1:] != self.bos).sum()):
            raise AssertionError("the windows do not score each token once")

    def real(self) -> tuple[Losses, float]:
        """Losses of all windows, in order, from a separate child, and the seconds that it took.

        Raises:
            Refused: there is no answer, or it takes longer than beside this champion it may.
        """
        most = math.inf
        if self.job.champion_seconds:
            most = ANSWERS_FACTOR * self.job.champion_seconds + ANSWERS_SLACK
        for _ in range(ATTEMPTS):
            with contextlib.closing(self.start_child()) as child:
                losses = child.answers(self.ids, self.targets, self.emit)
                _, seconds = child.effort()
            if seconds <= most:
                return losses, seconds
        raise Refused(
            f"eval-time: {seconds:.2f} s to answer, at most {most:.2f} ({ANSWERS_FACTOR:g} times "
            f"what the champion took, and {ANSWERS_SLACK:g} s): a model that is to be so much "
            "larger has to get there in several edits"
        )

    def bpb(self, nats: float) -> float:
        """Bits per byte of text from nats per token."""
        return nats * self.tokens / math.log(2) / self.job.text_bytes

    def bits(self, losses: Losses) -> Losses:
        """What each document cost."""
        each = np.where(self.scored, losses, 0.0).ravel()  # of all tokens but the first
        return np.add.reduceat(np.append(0.0, each), self.starts) / math.log(2)


def score(task: Task) -> dict[str, Any]:
    """Score all windows with one child, audit with a fresh one.

    Raises:
        Refused: the model cannot be scored, or it does not pass an audit.
    """
    real, seconds = task.real()
    movement = _movement(task, real)
    with contextlib.closing(task.start_child()) as fresh:
        bound = questions.ask_again(fresh, task.ids, task.targets, real)
    if movement is not None:  # last: a cheat that needs no training is named by its own audit
        questions.believe(movement)
    answer = {
        "event": "score",
        "val_bpb": task.bpb(float(real[task.scored].mean())),
        "leak_bound_bpb": task.bpb(bound),
        "answer_seconds": seconds,
    }
    if task.job.by_document:  # base64: a message has room for 1.5 million of them
        answer["bits"] = base64.b64encode(task.bits(real).astype("<f8").tobytes()).decode()
    return answer


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
    with contextlib.closing(task.start_child()) as child:
        real = child.answers(task.ids, task.targets, task.emit)
        text = prefixes.Text(task.ids, task.targets, real, task.bos)
        pace = prefixes.seconds_a_window(child, text)
    val_bpb = task.bpb(float(real[task.scored].mean()))
    if abs(val_bpb - claimed_bpb) > task.bpb(MEAN_NATS):
        raise Refused(f"state: scored again, {claimed_bpb:.4f} bits per byte are {val_bpb:.4f}")
    enough = cuts_for(real.flat[text.positions], task.job.enough_bpb / task.bpb(1.0))
    threads = task.job.code.threads if task.job.code.device == "cpu" else 1
    affordable = int(task.job.audit_seconds * threads / pace)
    bound, cuts = prefixes.ask_with_prefixes(task.start_child, text, enough, affordable, task.emit)
    return {
        "event": "score",
        "val_bpb": val_bpb,
        "leak_bound_bpb": task.bpb(bound),
        "cuts": cuts,
    }
