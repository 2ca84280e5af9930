"""What scoring costs on an H100, by calculation: no such device is needed to run this.

What the processor does is measured on the machine at hand; what the device and its bus do is
assumed, and every assumption has a name in the output.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from trainer.data.prepare import prepare
from trainer.presets import find_preset
from trainer.scoring import model, questions

BOUND = 0.05
"""Of the budget, for scoring with audits and turnaround."""


@dataclass(frozen=True)
class Assumed:
    """A machine with one H100, and a model of the h100 preset's sizes."""

    copy_bytes_per_second: float
    """Of logits from the device into the memory that the scorer shares."""
    cores: int = 16
    parallel_efficiency: float = 0.7
    """Of those cores, against one that normalises alone."""
    model_parameters: float = 50e6
    device_flops_per_second: float = 2e14
    """In the forward pass: about a fifth of the peak in bfloat16."""
    batch_seconds: float = 2e-3
    """Of each batch beside that: messages, and kernels launched one by one."""
    process_start_seconds: float = 1.0
    """A forked process makes its context on the device and loads kernels."""


COPIES = {"ordinary memory": 4e9, "page-locked memory": 25e9}
"""Bytes per second over PCIe 5. Page-locked: half of the 52.8e9 that NVIDIA/nvbandwidth#24 shows
for an H100. Ordinary: between the 1.4e9 of pytorch#138018, into fresh memory, and the 1e10 or so
that one core copies."""
AS_BUILT = "page-locked memory"


@dataclass(frozen=True)
class Work:
    """What is to be scored: sizes of the preset, and costs measured."""

    val_bytes: int
    bytes_per_token: float
    seq_len: int
    vocab_size: int
    rows: int
    """Windows in a batch."""
    audited_windows: int
    core_seconds_per_logit: float
    """Of copying, normalising and checking, on one core."""
    turnaround_seconds: float
    budget_seconds: float


def scoring(work: Work, assumed: Assumed) -> dict[str, float]:
    """Seconds of scoring with audits, and their share, turnaround included, of the budget.

    The device computes and copies one batch while the processor normalises another, so the slower
    of the two counts; the copy is not taken to overlap the forward pass. Three processes (training,
    scoring, audit) start on the device. Compiling is not in it: it is the training file's choice.
    """
    tokens = work.val_bytes / work.bytes_per_token + work.audited_windows * work.seq_len
    logits = tokens * work.vocab_size
    batches = tokens / (work.seq_len * work.rows)
    forward = (
        2 * assumed.model_parameters * tokens / assumed.device_flops_per_second
        + batches * assumed.batch_seconds
    )
    copy = 4 * logits / assumed.copy_bytes_per_second
    normalise = logits * work.core_seconds_per_logit / (assumed.cores * assumed.parallel_efficiency)
    starts = 3 * assumed.process_start_seconds
    total = max(forward + copy, normalise) + starts + work.turnaround_seconds
    return {
        "tokens": tokens,
        "logits": logits,
        "forward_seconds": forward,
        "copy_seconds": copy,
        "normalise_seconds": normalise,
        "process_start_seconds": starts,
        "turnaround_seconds": work.turnaround_seconds,
        "total_seconds": total,
        "share_of_budget": total / work.budget_seconds,
    }


class _Answered(model.ModelProcess):
    """The scorer's side of an eval child whose answer is in the shared memory already."""

    def __init__(self, length: int, vocabulary: int) -> None:
        self._vocabulary, self._out_bytes = vocabulary, 4 * length * vocabulary
        self._pid, self._spent, self._on_clock = os.getpid(), [0.0], False
        self._out_fd, self._out = model._shared(self._out_bytes)
        logits = np.random.default_rng(0).normal(scale=3.0, size=(length, vocabulary))
        self._out.write(logits.astype("<f4").tobytes())

    def _expect(self, event: str, seconds: float, length: int = 0) -> None:
        pass

    def close(self) -> None:
        os.close(self._out_fd)


def core_seconds_per_logit(length: int, vocabulary: int, repeats: int) -> float:
    """Of taking an answer of one window, by the scorer's own code on one core; the median."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    answered = _Answered(length, vocabulary)
    targets = np.random.default_rng(1).integers(vocabulary, size=(1, length))
    batch = model.Batch(targets, targets)
    took = []
    try:
        for _ in range(repeats):
            began = time.perf_counter()
            answered._take(0, batch)
            took.append(time.perf_counter() - began)
    finally:
        answered.close()
        torch.set_num_threads(threads)
    return median(took) / (length * vocabulary)


def calculation(turnaround_seconds: float, repeats: int) -> dict[str, Any]:
    """The calculation for the h100 preset, with costs measured on this machine."""
    chosen = find_preset("h100")
    seq_len, vocabulary = chosen.constants["SEQ_LEN"], chosen.constants["VOCAB_SIZE"]
    # A larger vocabulary has longer tokens: there will not be more of them than this says.
    text = prepare(vocab_size=4096, val_bytes=find_preset("cpu").val_bytes).val
    window = 4 * seq_len * vocabulary
    work = Work(
        val_bytes=chosen.val_bytes,
        bytes_per_token=text.bytes_per_token,
        seq_len=seq_len,
        vocab_size=vocabulary,
        rows=max(1, model.DEVICE_LOGITS_BYTES // window),
        audited_windows=questions.WINDOWS
        + questions.WINDOWS // 2
        + 1
        + questions.UNTRAINED_WINDOWS,
        core_seconds_per_logit=core_seconds_per_logit(seq_len, vocabulary, repeats),
        turnaround_seconds=turnaround_seconds,
        budget_seconds=chosen.budget.seconds or 0.0,
    )
    result: dict[str, Any] = {
        "assumed": asdict(Assumed(COPIES[AS_BUILT])),
        "measured": {
            "core_nanoseconds_per_logit": round(work.core_seconds_per_logit * 1e9, 3),
            "bytes_per_token_at_vocabulary_4096": round(text.bytes_per_token, 3),
            "turnaround_seconds_on_this_processor": round(turnaround_seconds, 3),
        },
        "as_built": AS_BUILT,
        "bound": BOUND,
    }
    for name, speed in COPIES.items():
        found = scoring(work, Assumed(speed))
        result[f"copying into {name}"] = {
            **{key: round(value, 4) for key, value in found.items()},
            "within_bound": found["share_of_budget"] <= BOUND,
        }
    return result
