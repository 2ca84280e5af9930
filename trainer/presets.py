"""Presets: starting points per hardware, read from presets.toml, and budgets."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from trainer.errors import UserError

LADDER = (257, 512, 1024, 2048, 4096, 8192, 16384)
"""Vocabulary sizes that VOCAB_SIZE may take; 257 is the bytes and BOS. BOS has id ``size - 1``."""

SCRATCH_ROOM_MB = 4000
"""Disk that a training may fill besides its weights: with what it compiles, twice, for instance."""

Isolation = Literal["auto", "require", "off"]
"""Whether a training has to be confined: where the system can, always, never."""


class BadSetting(UserError, ValueError):
    """A preset or a budget is not valid; the message says which are."""


@dataclass(frozen=True)
class Budget:
    """What a training may spend; exactly one field is set."""

    seconds: float | None = None
    """Wall time from the moment that the training has its data."""
    tokens: int | None = None
    steps: int | None = None
    """Iterations of the loop, counted by ``session.done()``; smoke checks have such a budget."""

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} steps"
        if self.tokens is not None:
            return f"{self.tokens}tok"
        return f"{self.seconds:.10g}s"


@dataclass(frozen=True)
class Preset:
    """See the head of presets.toml for what each field means."""

    name: str
    data: str
    device_memory_mb: int
    budget: Budget
    startup_seconds: float
    val_bytes: int
    max_seq_len: int
    max_params: int
    memory_mb: int
    compiles: bool
    threads: int
    noise_numbers: float
    noise_structure: float
    noise_dof: float
    effect: float
    reward_unit: float
    ties: float
    constants: MappingProxyType[str, Any]

    @property
    def weights_bytes(self) -> int:
        """Bound on the file of the weights: float32, and its header."""
        return 4 * self.max_params + (16 << 20)

    @property
    def scratch_mb(self) -> int:
        """Bound on what a training has on disk: twice the weights, for a snapshot of its own or the
        copy that scoring makes, and room."""
        return SCRATCH_ROOM_MB + (2 * self.weights_bytes >> 20)


_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:e\d+)?)(?P<unit>s|m|min|h|tok|ktok|Mtok)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}
_TOKENS = {"tok": 1, "ktok": 1_000, "Mtok": 1_000_000}
_MOST_SECONDS, _MOST_TOKENS = 30 * 86_400, 10**15


def parse_budget(text: str) -> Budget:
    """Read ``20s``, ``5m``, ``200000tok`` or ``2Mtok``.

    Raises:
        BadSetting: anything else, less than a millisecond or a token, or more than 30 days.
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise BadSetting(f"budget {text!r}: write seconds as 20s (or 5m), tokens as 200000tok")
    number, unit = float(match["number"]), match["unit"]
    amount = number * (_SECONDS[unit] if unit in _SECONDS else _TOKENS[unit])
    if unit in _SECONDS and 0.001 <= amount <= _MOST_SECONDS:
        return Budget(seconds=amount)
    if unit in _TOKENS and 1 <= amount <= _MOST_TOKENS:
        return Budget(tokens=int(amount))
    raise BadSetting(f"budget {text!r}: at least 0.001s or 1tok, at most 30 days or 1e15tok")


def wall_cap(budget: Budget, preset: Preset) -> float:
    """Bound in seconds on a training that does not run on the real clock, as under a budget of
    tokens: what has not handed over its weights by then ends without a score."""
    return 60.0 + 10 * (budget.seconds or preset.budget.seconds or 300.0)


@cache
def load_presets() -> dict[str, Preset]:
    tables = tomllib.loads((Path(__file__).parent / "presets.toml").read_text())
    for name, table in tables.items():
        budget, constants = parse_budget(table["budget"]), MappingProxyType(table["constants"])
        tables[name] = Preset(name=name, **(table | {"budget": budget, "constants": constants}))
    return tables


PRESETS = ("auto", *load_presets())
_BY_DEVICE = {"mps": "laptop"}


def find_preset(name: str, device: str = "cpu", device_memory_mb: float | None = None) -> Preset:
    """The preset of that name; ``auto`` selects by device and, on CUDA, by the device's memory.

    Args:
        device_memory_mb: None where it is not known; a small card is then assumed.

    Raises:
        BadSetting: no such preset.
    """
    if name == "auto":
        name = _by_memory(device_memory_mb) if device == "cuda" else _BY_DEVICE.get(device, "cpu")
    if name not in load_presets():
        raise BadSetting(f"there is no preset {name!r}; there are: {', '.join(PRESETS)}")
    return load_presets()[name]


def _by_memory(device_memory_mb: float | None) -> str:
    """The preset for a CUDA device: of those that fit the largest, else the smallest."""
    sizes = sorted((p.device_memory_mb, name) for name, p in load_presets().items())
    on_cuda = [(size, name) for size, name in sizes if size]
    fit = [name for size, name in on_cuda if size <= (device_memory_mb or 0)]
    return fit[-1] if fit else on_cuda[0][1]
