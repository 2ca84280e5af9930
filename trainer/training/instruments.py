"""What the process of a profiled training measures of itself: where a step's time goes, and norms.

It runs in the sandbox beside the candidate's code, which can change any of it: its figures are for
show. It knows no name of a train.py. What a step does it sees from calls that every training makes:
of modules, of the backward pass, of ``session``; what lies between the last backward pass of a step
and the next ``done()`` is the optimizer's. A weight's update is how far it moved in a step, so that
optimizers written by hand are seen as well. Nothing is compiled, for hooks see nothing of that.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from trainer.presets import Budget
from trainer.session import Clock, Session
from trainer.training.request import PROFILE_STEPS

FEWEST = 5
SECONDS = 1.2
"""After so long it ends, with at least the fewest steps."""
WARM = 2
"""The first steps are slower than others, and do not count."""
NORMS_EVERY = 4
"""One step in so many is for norms, and its time does not count."""
OWN = "the file's own rule"
_RATE = re.compile(r"(^|_)(lr|learning_rate)(_|$)", re.IGNORECASE)


class ProfileClock(Clock):
    """Goes from 0 to 1 within a few steps, so that a schedule is seen from end to end."""

    def __init__(self) -> None:
        super().__init__(Budget(steps=PROFILE_STEPS))

    def _spent(self) -> float:
        return self._share(self.steps - 1)  # asked within a step, which is not over

    def _over(self) -> bool:
        return self._share(self.steps) >= 1.0

    def _share(self, steps: int) -> float:
        seconds = (time.monotonic() - self._start) / SECONDS
        return max(0.0, steps / PROFILE_STEPS, min(seconds, steps / FEWEST))


class ProfiledSession(Session):
    """A session that tells its instruments when a step begins, and which rate is logged."""

    def __init__(self, instruments: Instruments, **rest: Any) -> None:
        super().__init__(**rest)
        self._instruments = instruments

    def done(self) -> bool:
        self._instruments.end_step()
        is_over = super().done()
        if not is_over:
            self._instruments.begin_step()
        return is_over

    def log(self, step: int, loss: float | Tensor | None = None, **metrics: Any) -> None:
        name = next(filter(_RATE.search, metrics), "")
        shares = (reading for reading in reversed(self._clock.trace) if reading >= 0)
        self._instruments.note_rate(name, next(shares, 0.0), metrics.get(name))
        super().log(step, loss, **metrics)


class Instruments:
    """Watches one training, from its first call of a module to its last step."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._vocab_size, self._on_cuda = vocab_size, device.type == "cuda"
        self._thread = threading.get_ident()
        self._phase, self._since = "before", 0.0
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._parts: defaultdict[str, float] = defaultdict(float)
        self._steps: list[tuple[dict[str, float], dict[str, float]]] = []
        """Of each timed step: seconds by phase, and of the forward pass by part of the model."""
        self._number = -1
        self._calls: list[nn.Module] = []
        """Of modules, which are under way."""
        self._part: tuple[nn.Module, float] | None = None
        self._depth = 0
        """Backward passes under way; one may be in another."""
        self._heads: set[nn.Module] = set()
        self._turns = False
        """Whether the backward pass will tell when it has left the head."""
        self._names: dict[nn.Module, str] = {}
        """By module: the name of the model's part that it belongs to."""
        self._weights: dict[Tensor, str] = {}
        self._rules: dict[Tensor, str] = {}
        self._before: dict[Tensor, Tensor] = {}
        """Of a step for norms: the weights at its beginning."""
        self._gradients: dict[Tensor, float] = {}
        self._norms: defaultdict[tuple[str, str], list[tuple[float, float | None, float]]]
        self._norms = defaultdict(list)
        self._rate, self._rates = "", list[tuple[float, float]]()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While a training runs, its calls are seen."""
        real = torch.autograd.backward, torch.autograd.grad
        torch.autograd.backward = self._watched(torch.autograd.backward)
        torch.autograd.grad = self._watched(torch.autograd.grad)
        hooks = (
            modules.register_module_forward_pre_hook(self._enter),
            modules.register_module_forward_hook(self._leave, always_call=True),
            optimizers.register_optimizer_step_post_hook(self._after_rule),
        )
        try:
            yield
        finally:
            torch.autograd.backward, torch.autograd.grad = real
            for hook in hooks:
                hook.remove()

    def _learn(self, model: nn.Module) -> None:
        """Name the parts of a model that is called by the first part of their names."""
        for name, module in model.named_modules():
            self._names.setdefault(module, name.partition(".")[0])
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                self._weights.setdefault(weight, name.partition(".")[0])

    # --- time

    def _now(self) -> float:
        if self._on_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _mark(self, phase: str) -> None:
        """The time since the last mark was of the phase until now; from now on it is of another."""
        now = self._now()
        self._taken[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def _settle(self, of: str, then: str) -> None:
        """What came since a backward pass was ``of`` this phase, as what comes ``then`` shows: of
        ``data`` before another forward pass, else of the optimizer."""
        self._mark(then)
        self._taken[of] += self._taken.pop("after backward", 0.0)

    @property
    def _is_elsewhere(self) -> bool:
        """In a thread of the file's own, or where a backward pass computes something again."""
        return threading.get_ident() != self._thread or self._depth > 0

    def begin_step(self) -> None:
        self._number += 1
        self._taken.clear()
        self._parts.clear()
        if self._measures_norms:
            self._gradients.clear()
            self._before = {weight: weight.detach().clone() for weight in self._weights}
        self._phase, self._since = "data", self._now()

    def end_step(self) -> None:
        if self._number < WARM:
            return
        self._settle("optimizer", then="optimizer")
        if self._measures_norms:
            self._note_norms()
        else:
            self._steps.append((dict(self._taken), dict(self._parts)))

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._is_elsewhere:
            return
        if not self._calls:
            if module not in self._names:
                self._learn(module)
            self._settle("data", then="forward")
            self._turns = False
        self._calls.append(module)
        if self._part is None and self._names.get(module):
            self._part = module, self._now()
        if module in self._heads:
            self._mark("head")
            self._turn_back(inputs[0])

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if self._is_elsewhere or module not in self._calls:
            return
        while self._calls.pop() is not module:  # what an exception has left
            pass
        if self._part is not None and self._part[0] is module:
            self._parts[self._names[module]] += self._now() - self._part[1]
            self._part = None
        if self._calls and self._is_head(inputs, output):
            self._heads.add(module)
            self._mark("forward")
        elif not self._calls:
            self._mark("head" if torch.is_grad_enabled() else "after backward")
            if not self._turns:
                self._turn_back(output)

    def _is_head(self, inputs: tuple[Any, ...], output: object) -> bool:
        """Whether a module makes logits of channels: with its loss it may take half of a step."""
        first = inputs[0] if inputs else None
        if not (isinstance(output, Tensor) and isinstance(first, Tensor)):
            return False
        return first.is_floating_point() and output.shape[-1:] == (self._vocab_size,)

    def _turn_back(self, value: object) -> None:
        """Once the gradient of this value is there, the backward pass has left the head."""
        if isinstance(value, Tensor) and value.requires_grad:
            value.register_hook(lambda _: self._mark("backward"))  # type: ignore[no-untyped-call]
            self._turns = True

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def backward(*args: Any, **rest: Any) -> Any:
            if threading.get_ident() != self._thread:
                return real(*args, **rest)
            if not self._depth:
                self._mark("head" if self._turns else "backward")
            self._depth += 1
            try:
                return real(*args, **rest)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._note_gradients()
                    self._mark("after backward")

        return backward

    def _after_rule(self, rule: optimizers.Optimizer, *_: Any) -> None:
        for group in rule.param_groups:
            self._rules |= dict.fromkeys(group["params"], type(rule).__name__)

    # --- norms and rates

    @property
    def _measures_norms(self) -> bool:
        return self._number >= WARM and self._number % NORMS_EVERY == WARM

    def _note_gradients(self) -> None:
        """After a backward pass; what the last one of a step leaves is the whole gradient."""
        for weight in self._weights if self._measures_norms else ():
            if (gradient := weight.grad) is not None:
                values = gradient.coalesce().values() if gradient.is_sparse else gradient
                self._gradients[weight] = float(values.float().norm())

    def _note_norms(self) -> None:
        """Of the weights that moved or have a gradient, by part of the model and by rule."""
        squares: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * 3)
        for weight, before in self._before.items():
            moved = float((weight.detach() - before).float().norm())
            gradient = self._gradients.get(weight, 0.0)
            if moved or gradient:
                one = float(before.float().norm()), gradient, moved
                total = squares[self._weights[weight], self._rules.get(weight, OWN)]
                total[:] = [a + b * b for a, b in zip(total, one, strict=True)]
        for group, (size, gradient, moved) in squares.items():
            known = gradient**0.5 if self._gradients else None
            self._norms[group].append((size**0.5, known, moved**0.5))
        self._before = {}

    def note_rate(self, name: str, share: float, value: Any) -> None:
        if name and isinstance(value, int | float | Tensor):
            self._rate = self._rate or name
            self._rates.append((share, float(value)))

    # --- what was found

    def found(self) -> dict[str, Any]:
        """Medians over the steps, as JSON has them."""
        times, parts = [t for t, _ in self._steps], [p for _, p in self._steps]
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for weight, part in self._weights.items():
            counts[part, self._rules.get(weight, OWN)] += weight.numel()
        return {
            "steps": len(times),
            "seconds": median(sum(one.values()) for one in times) if times else None,
            "phases": _medians(times),
            "parts": _medians(parts),
            "has_head": bool(self._heads),
            "groups": [
                {"name": name, "rule": rule, "params": counts[name, rule]}
                | dict(zip(("weight", "gradient", "change"), _columns(rows), strict=True))
                for (name, rule), rows in self._norms.items()
            ],
            "rate": self._rate,
            "rates": self._rates,
        }


def _medians(steps: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for step in steps for name in step)
    return {name: median(step.get(name, 0.0) for step in steps) for name in names}


def _columns(rows: list[tuple[float, float | None, float]]) -> list[float | None]:
    known = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    return [median(column) if column else None for column in known]
