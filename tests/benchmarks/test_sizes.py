"""Sizes counted on fake tensors, and what a fake forward pass shows of a preset for a GPU."""

from __future__ import annotations

import types
from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.sizes import TRAIN_FILE, sizes, with_constants
from trainer.contract import Spec
from trainer.presets import find_preset, load_presets

pytestmark = pytest.mark.process  # seconds
ON_CUDA = [name for name, preset in load_presets().items() if preset.device_memory_mb]
LINEAR = """
import torch
VOCAB_SIZE = 512
SEQ_LEN = 16
BATCH_ROWS = 8
MICRO_ROWS = 4

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB_SIZE, 32)
        self.hidden = torch.nn.Linear(32, 64, bias=False)
        self.head = torch.nn.Linear(64, VOCAB_SIZE, bias=False)

    def forward(self, ids):
        return self.head(self.hidden(self.embedding(ids))).float()

def build_model(spec):
    return Model()
"""
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2"}
"""Operations whose result has to be known before the next can be sent to a device."""


def test_a_model_counted_by_hand() -> None:
    preset = replace(find_preset("cpu"), constants=MappingProxyType({"MICRO_ROWS": 2}))
    found = sizes(preset, LINEAR)
    assert found.parameters == 512 * 32 + 32 * 64 + 64 * 512
    assert found.flops_per_token == 6 * (32 * 64 + 64 * 512)
    # Of each of 32 tokens: its id, what the two layers read in bfloat16, and its logits; and the
    # copy in bfloat16 that autocast makes of the hidden layer's weights.
    assert found.activation_mb * 2**20 == 32 * (8 + 2 * 32 + 2 * 64 + 12 * 512) + 2 * 32 * 64


def test_more_rows_at_a_time_take_more_memory() -> None:
    h100 = find_preset("h100")
    half = h100.constants["MICRO_ROWS"] // 2
    fewer = replace(h100, constants=MappingProxyType({**h100.constants, "MICRO_ROWS": half}))
    assert sizes(fewer).activation_mb == pytest.approx(sizes(h100).activation_mb / 2, rel=0.1)
    assert sizes(fewer).flops_per_token == pytest.approx(sizes(h100).flops_per_token)


def test_the_h100_preset_is_of_the_ancestors_size() -> None:
    """Its best has 50 million parameters and 239 million FLOPs a token."""
    found = sizes(find_preset("h100"))
    assert 0.5 < found.parameters / 50e6 < 2
    assert 0.7 < found.flops_per_token / 239e6 < 1.5


class Watch(TorchDispatchMode):
    """The types that products are computed in, and operations for which a device would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[torch.dtype] = Counter()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        out = func(*args, **(kwargs or {}))
        if name in WAITS:
            self.waits.append(name)
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            self.products[out.dtype] += 1
        return out


@pytest.mark.parametrize("name", ON_CUDA)
def test_the_forward_pass_of_a_gpu_preset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where products are bfloat16: shapes, float32 logits, and nothing that a device waits for."""
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    module = types.ModuleType("train")
    source = with_constants(TRAIN_FILE.read_text(), load_presets()[name])
    exec(compile(source, "train.py", "exec"), module.__dict__)
    spec = Spec(module.VOCAB_SIZE, module.SEQ_LEN)
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16), Watch() as watch:
        model = module.build_model(spec)
        watch.products.clear()
        watch.waits.clear()
        logits = model(torch.zeros(4, spec.seq_len, dtype=torch.int64))
    assert logits.shape == (4, spec.seq_len, spec.vocab_size)
    assert logits.dtype == torch.float32
    assert set(watch.products) == {torch.bfloat16}
    assert watch.waits == []
