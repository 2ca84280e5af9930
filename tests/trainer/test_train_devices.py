"""What the shipped train.py does by the device: precision, kernels, compiling; a GPU is a fake."""

import contextlib
import itertools
import math
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from shipped import SOURCE, load
from small_train import SMALL, SMALL_SPEC, training
from torch._subclasses import FakeTensorMode

from benchmarks.sizes import with_constants
from trainer import session
from trainer.presets import Budget, load_presets
from trainer.session import Spec

COMPILE = torch.compile
ON_A_DEVICE = "if q.is_cuda and q.dtype == torch.bfloat16:"
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


@pytest.mark.parametrize(
    "preset", [p if p == "cpu" else pytest.param(p, marks=pytest.mark.slow) for p in PRESETS]
)
@pytest.mark.process
def test_nothing_compiles_once_the_clock_runs(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is one graph, and the guards of the warm-up hold for all that follows."""
    constants = dict(load_presets()[preset].constants) | {
        "SEQ_LEN": 64, "VOCAB_SIZE": 257, "MICRO_ROWS": 2, "BATCH_ROWS": 4,
    }  # fmt: skip
    compiled = compiled_training(load(**constants), Spec(257, 64), monkeypatch, "aot_eager")
    assert len(compiled) == 1


@pytest.mark.process
@pytest.mark.slow  # the real compiler; the parts above do without
def test_the_file_as_it_ships_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled_training(load(**SMALL), SMALL_SPEC, monkeypatch, "inductor")


def compiled_training(
    module: types.ModuleType, spec: Spec, monkeypatch: pytest.MonkeyPatch, backend: str
) -> list[Any]:
    """Train three steps, none of which may compile; returns what was compiled before them."""
    monkeypatch.setitem(sys.modules, "train", module)
    compiled = []

    def compile_one_graph(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return COMPILE(function, backend=backend, fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", compile_one_graph)
    torch._dynamo.reset()
    with contextlib.ExitStack() as stack:
        strict = torch._dynamo.config.patch(error_on_recompile=True)
        _, losses = training(
            module,
            spec=spec,
            budget=Budget(steps=3),
            compiles=True,
            on_ready=lambda: stack.enter_context(strict),
        )
    assert compiled == [module.loss]
    assert len(losses) == 3 and all(map(math.isfinite, losses))
    return compiled


@pytest.mark.parametrize("preset", [n for n in PRESETS if load_presets()[n].device_memory_mb])
def test_forward_and_backward_of_a_gpu_preset_through_the_devices_attention(preset: str) -> None:
    """Shapes and types only: the kernel's own definition for fake tensors stands for a GPU."""
    source = with_constants(SOURCE, load_presets()[preset])
    assert source.count(ON_A_DEVICE) == 1
    module = types.ModuleType("train")
    exec(compile(source.replace(ON_A_DEVICE, "if True:"), "train.py", "exec"), module.__dict__)
    spec = Spec(module.VOCAB_SIZE, module.SEQ_LEN)
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16):
        model = module.build_model(spec)
        ids = torch.zeros(2, spec.seq_len, dtype=torch.int64)
        loss = module.loss(model, ids, ids)
        loss.backward()
    assert loss.dtype == torch.float32
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(p.grad.dtype == p.dtype for p in model.parameters())


def windowed(q: Any, k: Any, v: Any, starts: Any, _: Any, *longest: int, **how: Any) -> Any:
    """As ``varlen_attn``, row by row: [tokens, heads, HEAD_DIM] each, rows begin at ``starts``."""
    left, right = how["window_size"]
    assert longest == (32, 32) and right == 0 and starts.dtype == torch.int32
    assert {x.dtype for x in (q, k, v)} == {torch.bfloat16}
    rows = []
    for a, b in itertools.pairwise(starts.tolist()):
        distance = torch.arange(b - a).unsqueeze(1) - torch.arange(b - a)
        seen = (distance >= 0) & ((distance <= left) | (left < 0))
        parts = (x[a:b].transpose(0, 1).float() for x in (q, k, v))
        rows.append(F.scaled_dot_product_attention(*parts, attn_mask=seen).transpose(0, 1))
    return torch.cat(rows).to(q.dtype)


@pytest.mark.parametrize("window", [3, 31, 32])
def test_attention_on_a_device_sees_what_it_sees_spelled_out(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is a stand-in: it needs a GPU. What it is given, and what that means, is real."""
    module = load(HEAD_DIM=32)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 32, 4, 32)
    expected = module.attend(q, k, v, window)
    module.varlen_attn = windowed
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    y = module.attend(q.bfloat16(), k.bfloat16(), v, window)
    assert y.shape == expected.shape and y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, atol=0.03, rtol=0.03)
