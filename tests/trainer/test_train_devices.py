"""What the shipped train.py does by the device: precision, kernels, compiling; a GPU is a fake."""

import contextlib
import math
import sys
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from shipped import load
from small_train import training

from trainer import session
from trainer.presets import Budget, load_presets
from trainer.session import Spec

COMPILE = torch.compile
PRESETS = sorted(load_presets())

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("length", [1, 7, 32])
def test_attention_spelled_out_is_that_of_the_fused_kernel(length: int) -> None:
    module = load(HEAD_DIM=32)
    torch.manual_seed(0)
    given = [torch.randn(2, length, 4, 32, requires_grad=True) for _ in range(3)]
    weights = torch.randn(2, length, 4, 32)
    heads_first = (x.transpose(1, 2) for x in given)
    fused = F.scaled_dot_product_attention(*heads_first, is_causal=True).transpose(1, 2)
    spelled_out = module.attend(*given, 32)
    torch.testing.assert_close(spelled_out, fused)
    expected = torch.autograd.grad(fused, given, weights)
    torch.testing.assert_close(torch.autograd.grad(spelled_out, given, weights), expected)


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_products_are_in_bfloat16_only_where_the_processor_multiplies_it(
    has: dict[str, bool], expected: torch.dtype
) -> None:
    a = torch.randn(4, 4)
    with mock.patch("torch.cpu.get_capabilities", return_value=has):
        assert session.product_dtype(torch.device("cpu")) == expected
        with session.precision(torch.device("cpu")):
            assert (a @ a).dtype == expected


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.process  # seconds for the larger presets
def test_nothing_compiles_once_the_clock_runs(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is one graph, and the guards of the warm-up hold for all that follows."""
    constants = dict(load_presets()[preset].constants) | {
        "SPARSE_PAIRS": False, "SEQ_LEN": 64, "VOCAB_SIZE": 257, "MICRO_ROWS": 2, "BATCH_ROWS": 4,
    }  # fmt: skip
    module = load(**constants)
    monkeypatch.setitem(sys.modules, "train", module)
    compiled = []

    def compile_one_graph(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return COMPILE(function, backend="aot_eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", compile_one_graph)
    torch._dynamo.reset()
    with contextlib.ExitStack() as stack:
        strict = torch._dynamo.config.patch(error_on_recompile=True)
        _, losses = training(
            module,
            spec=Spec(257, 64),
            budget=Budget(steps=3),
            compiles=True,
            on_ready=lambda: stack.enter_context(strict),
        )
    assert compiled == [module.loss]
    assert len(losses) == 3 and all(map(math.isfinite, losses))
