"""What the shipped train.py does by the device: precision, kernels, compiling; a GPU is a fake."""

import functools
import math
import sys
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from shipped import load
from small_train import SMALL, SMALL_SPEC, filled_model, training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("length", [1, 7, 32])
def test_attention_spelled_out_is_that_of_the_fused_kernel(length: int) -> None:
    module = load(HEAD_DIM=32)
    torch.manual_seed(0)
    given = [torch.randn(2, 4, length, 32, requires_grad=True) for _ in range(3)]
    weights = torch.randn(2, 4, length, 32)
    fused = F.scaled_dot_product_attention(*given, is_causal=True)
    spelled_out = module.attend(*given)
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
    module = load()
    a = torch.randn(4, 4)
    with mock.patch("torch.cpu.get_capabilities", return_value=has):
        assert module.product_dtype(torch.device("cpu")) == expected
        assert module.product_dtype(torch.device("cuda")) == torch.bfloat16
        assert module.product_dtype(torch.device("mps")) == torch.float32
        with module.precision(torch.device("cpu")):
            assert (a @ a).dtype == expected


def test_what_is_compiled_on_a_device_is_one_graph_each(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(**SMALL)
    monkeypatch.setitem(sys.modules, "train", module)
    module.product_dtype = lambda device: torch.float32  # asks the processor only on a CPU
    model = filled_model(module, SMALL_SPEC)
    step = module.Step(model, torch.device("cpu"))
    whole = functools.partial(torch.compile, backend="eager", fullgraph=True)
    ids = torch.randint(257, (2, 32))
    features = whole(model.features)(ids, model.embedded_pairs(ids)).flatten(0, 1)
    torch.testing.assert_close(
        whole(step.head_loss)(features, ids.flatten()), step.head_loss(features, ids.flatten())
    )
    matrices = torch.randn(2, 8, 16)
    torch.testing.assert_close(
        whole(module.orthogonalise)(matrices), module.orthogonalise(matrices)
    )


def test_training_in_bfloat16_follows_that_in_float32_and_its_weights_are_float32() -> None:
    curves = []
    for dtype in (torch.float32, torch.bfloat16):
        module = load(**SMALL)
        module.product_dtype = lambda device, dtype=dtype: dtype
        model, losses = training(module)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert model(torch.randint(257, (1, 32))).dtype == torch.float32
        curves.append(losses)
    assert curves[0] != curves[1]
    assert curves[1] == pytest.approx(curves[0], abs=0.1)


def test_use_of_the_device_is_told_where_its_peak_is_known() -> None:
    module = load()
    assert math.isnan(module.peak_flops(torch.device("cpu")))
    with mock.patch("torch.cuda.get_device_name", return_value="NVIDIA H100 80GB HBM3"):
        assert module.peak_flops(torch.device("cuda:0")) == 989e12
