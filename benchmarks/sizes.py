"""How large a preset's model is and what a step of it takes, on fake tensors: no device is needed.

Fake tensors have shapes and types but no numbers, so a model for a large card is counted within
seconds on any machine. What the fused kernels of a device do not keep, a fake CPU would: scores of
attention (``[..., T, T]``) and all logits at once are left out or replaced, as said below.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from agent.edits.constants import constants, set_constants
from trainer.contract import Spec
from trainer.presets import Preset

TRAIN_FILE = Path(__file__).parents[1] / "trainer" / "train.py"
BYTES_PER_PARAMETER = 16
"""A weight, its gradient and two means of AdamW, float32; Muon keeps one mean."""
BYTES_PER_LOGIT = 12
"""As computed, in float32, its gradient."""


@dataclass(frozen=True)
class Sizes:
    """What a step on one micro-batch takes."""

    parameters: int
    flops_per_token: float
    """Forward and backward, the latter counted as twice the former; attention is counted whole,
    as if every position saw every other."""
    activation_mb: float
    """What the forward pass keeps for the backward pass, and the logits."""
    state_mb: float
    """Weights, gradients and the optimizer's means."""

    @property
    def memory_mb(self) -> float:
        return self.activation_mb + self.state_mb


def with_constants(source: str, preset: Preset) -> str:
    """A train.py with those of the preset's constants that it has, as a campaign's trial 0."""
    has = {constant.name for constant in constants(source)}
    values = {name: value for name, value in preset.constants.items() if name in has}
    for block in set_constants(source, values):
        source = source.replace(block.search, block.replace)
    return source


def sizes(preset: Preset, source: str | None = None) -> Sizes:
    """Count the preset's model, bfloat16 products as on a device.

    Args:
        source: a train.py; None for the shipped one.
    """
    text = with_constants(TRAIN_FILE.read_text() if source is None else source, preset)
    module = types.ModuleType("train")
    exec(compile(text, "train.py", "exec"), module.__dict__)
    spec = Spec(module.VOCAB_SIZE, module.SEQ_LEN)
    rows = min(module.BATCH_ROWS, module.MICRO_ROWS)
    kept = _Kept(spec)
    multiplies_bfloat16 = mock.patch(
        "torch.cpu.get_capabilities", return_value={"avx512_bf16": True}
    )
    with (
        multiplies_bfloat16,
        FakeTensorMode(),
        FlopCounterMode(display=False) as counter,
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor),
    ):
        model = module.build_model(spec)
        kept.weights = {p.untyped_storage()._cdata for p in model.parameters()}
        ids = torch.zeros(rows, spec.seq_len, dtype=torch.int64)
        model(ids)
    parameters = sum(p.numel() for p in model.parameters())
    tokens = rows * spec.seq_len
    return Sizes(
        parameters=parameters,
        flops_per_token=3 * counter.get_total_flops() / tokens,
        activation_mb=(kept.bytes + BYTES_PER_LOGIT * tokens * spec.vocab_size) / 2**20,
        state_mb=BYTES_PER_PARAMETER * parameters / 2**20,
    )


class _Kept:
    """Bytes that the forward pass keeps, each storage once, without weights, scores and logits."""

    def __init__(self, spec: Spec) -> None:
        self.bytes = 0
        self.weights: set[int] = set()
        self._spec = spec
        self._seen: list[torch.Tensor] = []
        self._storages: set[int] = set()

    def note(self, tensor: torch.Tensor) -> torch.Tensor:
        shape, storage = tuple(tensor.shape), tensor.untyped_storage()
        is_scores = shape[-2:] == (self._spec.seq_len, self._spec.seq_len)
        is_logits = shape[-1:] == (self._spec.vocab_size,)
        if not is_scores and not is_logits and storage._cdata not in self.weights | self._storages:
            self._seen.append(tensor)  # alive, so that no other storage takes its place
            self._storages.add(storage._cdata)
            self.bytes += storage.nbytes()
        return tensor
