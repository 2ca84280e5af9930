"""What the shipped train.py does by the device: precision, kernels, compiling; a GPU is a fake."""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from shipped import load
from small_train import training

import trainer
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


@pytest.mark.process
def test_the_step_of_the_h100_preset_on_a_fake_device() -> None:
    """Without a GPU: bfloat16 products, float32 logits, no wait, FLOPs and memory."""
    script = Path(__file__).parent / "fake_cuda.py"
    root = Path(trainer.__file__).parents[1]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    h100 = load_presets()["h100"].constants
    forward, backward = said["forward"], said["backward"]
    shape = [8, h100["SEQ_LEN"], h100["VOCAB_SIZE"]]
    assert forward["logits"] == ["torch.float32", "cuda:0", shape]
    assert forward["loss"] == backward["loss"] == "torch.float32"
    assert {name.split()[1] for name in forward["products"]} == {"torch.bfloat16"}
    assert forward["attention"] == ["torch.bfloat16"] * h100["DEPTH"]
    assert {name.split()[1] for name in backward["products"]} == {"torch.bfloat16"}
    assert forward["waits"] == backward["waits"] == []
    assert (backward["gradients"], backward["without_gradient"]) == (["torch.float32"], [])
    # Counted are matrix products alone; attention has a kernel of its own.
    expected = backward["flops_per_token"] - backward["attention_flops_per_token"]
    assert backward["product_flops_per_token"] == expected
    assert 1e8 < backward["flops_per_token"] < 5e8
    assert 5e7 < backward["parameters"] < 1e8
    assert 10 < backward["peak_gib"] < 70
