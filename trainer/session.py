"""What train.py may use: clock, data, seed, device, precision, log.

This module is untrusted: it runs in the sandbox with the candidate's code, which can change any of
it. The parent keeps its own clock and deadline, and the scorer computes the score, so the candidate
gains nothing by forging anything here.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.contract import Spec as Spec
from trainer.presets import Budget

DONE_FALSE, DONE_TRUE = -1.0, -2.0
"""Codes of ``done()`` answers in a clock trace; ``progress()`` readings are stored as they are."""

TRACE_LIMIT = 400_000
LOG_INTERVAL_SECONDS = 0.1


class ContractError(Exception):
    """train.py broke the contract of its session; the message says how."""


class Clock:
    """Measures how much of a budget is spent; records each reading, so that it can be replayed.

    A training whose control flow depends on time only through ``progress`` and ``done`` computes
    the same numbers again when it is given its own trace.
    """

    def __init__(
        self,
        budget: Budget,
        replay: list[float] | None = None,
        end_turn: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        """
        Args:
            replay: recorded readings to answer with, instead of the real clock.
            end_turn: waits for the next turn of a heat; returns the seconds of the budget that are
                spent, and how many the next turn has.
        """
        self.budget = budget
        self.turn_seconds: float | None = None
        """Length of the first turn; None for a training that takes no turns."""
        self.trace: list[float] = []
        self.told = self.handed = 0
        """Tokens that train.py said it trains on, and that it was handed as batches."""
        self.steps = 0
        self._replay = replay
        self._wait_for_turn = end_turn
        self._start = 0.0
        self._turn_end = math.inf
        self._done_seconds = 0.0
        """Of the budget, that were spent when ``done()`` was asked last."""
        self._step_seconds = 0.0

    @property
    def tokens(self) -> int:
        """That count: the larger of both, so that nothing is gained by telling too few."""
        return max(self.told, self.handed)

    def start(self) -> None:
        self._start = time.monotonic()
        if self.turn_seconds is not None:
            self._turn_end = self._start + self.turn_seconds

    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        if self._replay is not None:
            return self._record(self._recorded(is_done=False))
        return self._record(min(1.0, max(0.0, self._spent())))

    def done(self) -> bool:
        """Whether one more step like the last would exceed the budget."""
        self._end_step()
        answer = DONE_TRUE if self._over() else DONE_FALSE
        if answer == DONE_FALSE:
            self.steps += 1
        return self._record(answer) == DONE_TRUE

    def _spent(self) -> float:
        if self.budget.tokens is not None:
            return self.tokens / self.budget.tokens
        if self.budget.steps is not None:
            return self.steps / self.budget.steps
        assert self.budget.seconds is not None
        return (time.monotonic() - self._start) / self.budget.seconds

    def _end_step(self) -> None:
        """Wait if the turn is over, then measure the step. This clock does not run while it waits.

        The step may have been stopped in its middle, when its turn was cut off: only the parent
        knows for how long, so its reading comes before anything is concluded from this clock.
        """
        now = time.monotonic()
        if now >= self._turn_end and self._wait_for_turn is not None:
            spent, turn_seconds = self._wait_for_turn()
            now = time.monotonic()
            self._start, self._turn_end = now - spent, now + turn_seconds
        done = now - self._start
        # A decaying maximum, because a busy machine's next step may be slower than the last.
        self._step_seconds = max(done - self._done_seconds, 0.95 * self._step_seconds)
        self._done_seconds = done

    def _over(self) -> bool:
        if self._replay is not None:
            return self._recorded(is_done=True) == DONE_TRUE
        if self.budget.seconds is None:
            return self._spent() >= 1.0
        return self._done_seconds + 1.5 * self._step_seconds > self.budget.seconds

    def _record(self, reading: float) -> float:
        if len(self.trace) < TRACE_LIMIT:
            self.trace.append(reading)
        return reading

    def _recorded(self, *, is_done: bool) -> float:
        assert self._replay is not None
        if len(self.trace) >= len(self._replay):
            raise ContractError(
                f"replay: the recorded clock has {len(self._replay)} readings, train.py asked "
                "for one more"
            )
        reading = self._replay[len(self.trace)]
        if (reading < 0) != is_done:
            raise ContractError(
                f"replay: reading {len(self.trace)} of the recorded clock is not a "
                f"{'done()' if is_done else 'progress()'}"
            )
        return reading


@dataclass(frozen=True)
class Source:
    """One named part of the training corpus, as token ids."""

    tokens: npt.NDArray[np.uint16]
    """Shape [N], read-only; every document begins with BOS, the last id of the vocabulary."""
    doc_starts: npt.NDArray[np.int64]
    """Shape [D]: index in ``tokens`` of each document's BOS, ascending."""
    bytes_per_token: float
    """UTF-8 bytes of text per text token (BOS not counted)."""
    in_domain: bool
    """Whether the validation text is of this kind."""


@dataclass(frozen=True)
class Data:
    """The training corpus. Validation text is not in this process."""

    sources: Mapping[str, Source]


def product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, float32 elsewhere.

    That is CUDA from compute capability 8.0 on, and processors with AVX512-BF16 or AMX.
    """
    native = False
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        has = torch.cpu.get_capabilities()
        native = has.get("avx512_bf16", False) or has.get("amx_bf16", False)
    return torch.bfloat16 if native else torch.float32


def precision(device: torch.device) -> AbstractContextManager[object]:
    """Products in ``product_dtype``, whatever the dtype of what is multiplied (autocast)."""
    enabled = product_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class Session:
    """The argument of ``train(session)``."""

    def __init__(
        self,
        *,
        spec: Spec,
        device: torch.device,
        seed: int,
        clock: Clock,
        await_data: Callable[[], Mapping[str, Source]],
        emit: Callable[[dict[str, Any]], None],
        compiles: bool = False,
    ) -> None:
        self.spec = spec
        self.device = device
        self.seed = seed
        self.compiles = compiles
        """Whether ``torch.compile`` pays: the preset lends what was compiled to later trainings."""
        self.logged_steps = 0
        self._clock = clock
        self._await_data = await_data
        self._emit = emit
        self._data: Data | None = None
        self._next_log = 0.0
        self._waiting: deque[tuple[int, int, dict[str, Any]]] = deque()
        """Steps to report, whose loss the device may not have computed yet."""

    def ready(self) -> None:
        """End set-up and compile warm-up (on dummy data): get the data and start the clock.

        Raises:
            ContractError: called twice.
        """
        if self._data is not None:
            raise ContractError("session.ready() was called twice")
        gc.collect()
        gc.freeze()  # a later collection need not look through what there is by now
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._data = Data(self._await_data())
        self._clock.start()

    @property
    def data(self) -> Data:
        """The training corpus; there is none before ``ready()``."""
        if self._data is None:
            raise ContractError("there is no data before session.ready()")
        return self._data

    def precision(self) -> AbstractContextManager[object]:
        """Autocast of this device; a file that uses it is scored under it, too."""
        return precision(self.device)

    def batch(self, rows: npt.NDArray[np.integer[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of token ids [B, T + 1] -> inputs and targets, int64 [B, T] on the device.

        Both are contiguous, so that what was compiled for one batch fits all. To a GPU they are
        copied from pinned memory, which is not waited for. From ``ready()`` on their B * T targets
        count as tokens, whether ``consumed`` is told of them or not.
        """
        if self._data is not None:
            self._clock.handed += rows.shape[0] * (rows.shape[1] - 1)
        ids = torch.from_numpy(rows.astype(np.int64))
        both = torch.stack([ids[:, :-1], ids[:, 1:]])
        if self.device.type == "cuda":
            both = both.pin_memory().to(self.device, non_blocking=True)
        inputs, targets = both.to(self.device)
        return inputs, targets

    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]; schedules are functions of it."""
        self._require_ready("progress")
        return self._clock.progress()

    def done(self) -> bool:
        """True when one more step like the last would exceed the budget. Ask before each step.

        ``train`` may return before: its clock stops when the weights are there.
        """
        self._require_ready("done")
        return self._clock.done()

    def consumed(self, tokens: int) -> None:
        """Count tokens, each time that some are read to be trained on; see ``contract``."""
        self._clock.told += int(tokens)

    def log(self, step: int, loss: float | torch.Tensor | None = None, **metrics: Any) -> None:
        """Report a step for the live display and the curve; ``loss`` in nats per token.

        A tensor is read only when a message is due (ten a second), on a device when the next one
        is: by then it is computed, and the device need not wait while the next step is made ready.
        """
        self.logged_steps = max(self.logged_steps, int(step) + 1)
        now = time.monotonic()
        if now < self._next_log:
            return
        self._next_log = now + LOG_INTERVAL_SECONDS
        self._waiting.append((int(step), self._clock.tokens, {"loss": loss, **metrics}))
        if len(self._waiting) <= (self.device.type != "cpu"):
            return
        step, tokens, values = self._waiting.popleft()
        message: dict[str, Any] = {"event": "log", "step": step, "tokens": tokens}
        for name, value in values.items():
            if value is not None and math.isfinite(number := float(value)):
                message[name[:40]] = number
        self._emit(message)

    def _require_ready(self, what: str) -> None:
        if self._data is None:
            raise ContractError(f"session.{what}() was called before session.ready()")
