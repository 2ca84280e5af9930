"""The h100 preset's step without a GPU: shapes, dtypes, waits, FLOPs and memory, as JSON.

    python tests/trainer/fake_cuda.py

Tensors are fake (shapes and dtypes, no numbers). On a fake cuda device run the forward pass and the
step of the optimizer. Backward cannot: autograd asks for a real accelerator. It runs on fake CPU
tensors of the same shapes under the same precision, where FLOPs and memory are counted.

A build of torch without CUDA has no guard that switches devices, which even fake tensors ask for;
the one of the ``meta`` device, which does nothing, stands in for it in this process.
"""

from __future__ import annotations

import ctypes
import json
import sys
import types
import weakref
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from agent.edits.constants import set_constants
from trainer.presets import load_presets
from trainer.session import Spec

ROOT = Path(__file__).parents[2]
CUDA, META = 1, 14  # c10::DeviceType
WAITS = ("_local_scalar_dense", "nonzero", "unique", "coalesce", "masked_select", "is_nonzero")


def borrow_guard() -> None:
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 22).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    guards[CUDA] = guards[CUDA] or guards[META]


def load(preset: str) -> types.ModuleType:
    source = (ROOT / "trainer" / "train.py").read_text()
    for block in set_constants(source, load_presets()[preset].constants):
        assert source.count(block.search) == 1
        source = source.replace(block.search, block.replace)
    module = types.ModuleType("train")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


class Watch(TorchDispatchMode):
    """Which products ran in which dtype, what would make a GPU wait, and bytes held at most."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[str] = Counter()
        self.waits: list[str] = []
        self.bytes = self.peak = 0
        self.seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        if name in WAITS:
            self.waits.append(name)
        out = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            if (source.device.type, out.device.type) == ("cuda", "cpu"):
                self.waits.append("copy to the host")
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                if name in ("mm", "addmm", "baddbmm"):
                    self.products[f"{name} {tensor.dtype} {tensor.device.type}"] += 1
                if not tensor.is_sparse:
                    self.hold(tensor.untyped_storage())
        return out

    def hold(self, storage: torch.UntypedStorage) -> None:
        if storage in self.seen:
            return
        self.seen.add(storage)
        size = storage.nbytes()
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self.release, size)

    def release(self, size: int) -> None:
        self.bytes -= size


class Attended(TorchFunctionMode):
    """Dtypes that the fused attention answered in."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self.dtypes.append(str(out.dtype))
        return out


def moved(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """As ``model.to(device)``, which fake parameters do not allow."""
    for module in model.modules():
        for name, p in list(module._parameters.items()):
            if p is not None:
                setattr(module, name, torch.nn.Parameter(p.to(device)))
        for name, buffer in list(module._buffers.items()):
            assert buffer is not None
            setattr(module, name, buffer.to(device))
    return model


def forward_and_optimizer(train: types.ModuleType) -> dict[str, Any]:
    borrow_guard()
    device = torch.device("cuda:0")
    believe = mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False)
    bfloat16 = mock.patch("torch.cuda.is_bf16_supported", return_value=True)
    with FakeTensorMode(), torch.no_grad(), believe, bfloat16, Watch() as watch:
        model = moved(train.build_model(Spec(train.VOCAB_SIZE, train.SEQ_LEN)), device)
        optimizer = train.Optimizer(model)
        ids = torch.zeros(train.MICRO_ROWS, train.SEQ_LEN, dtype=torch.int64, device=device)
        watch.products.clear()
        with Attended() as attended:
            logits = model(ids[:8])
        with train.precision(device):
            features = torch.zeros(64, train.WIDTH, device=device)
            loss = train.Step(model, device)._head_loss(features, ids[0, :64])
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        grads = torch.zeros(ids.numel(), train.WIDTH, device=device)
        rows = model.pairs.weight
        rows.grad = torch.sparse_coo_tensor(
            ids.flatten().unsqueeze(0), grads, rows.shape, check_invariants=False
        )
        watch.waits.clear()
        optimizer.step(0.5)
    return {
        "logits": [str(logits.dtype), str(logits.device), list(logits.shape)],
        "loss": str(loss.dtype),
        "products": dict(watch.products),
        "attention": attended.dtypes,
        "waits": watch.waits,
    }


def forward_and_backward(train: types.ModuleType) -> dict[str, Any]:
    device = torch.device("cpu")
    # As on the device: its precision, and its attention, which keeps no scores.
    train.product_dtype = lambda _: torch.bfloat16  # type: ignore[attr-defined]
    train.attend = partial(F.scaled_dot_product_attention, is_causal=True)  # type: ignore[attr-defined]
    with FakeTensorMode(), Watch() as watch:
        model = train.build_model(Spec(train.VOCAB_SIZE, train.SEQ_LEN))
        optimizer, step = train.Optimizer(model), train.Step(model, device)
        ids = torch.zeros(train.MICRO_ROWS, train.SEQ_LEN, dtype=torch.int64)
        watch.products.clear()
        watch.waits.clear()
        with FlopCounterMode(display=False) as counter:
            loss = step.backward(ids, ids, 0.5)
        optimizer.step(0.5)
        flops = sum(counter.get_flop_counts()["Global"].values())
        dtypes = {str(p.grad.dtype) for p in model.parameters() if p.grad is not None}
    return {
        "loss": str(loss.dtype),
        "gradients": sorted(dtypes),
        "without_gradient": [n for n, p in model.named_parameters() if p.grad is None],
        "products": dict(watch.products),
        "waits": watch.waits,
        "product_flops_per_token": flops / ids.numel(),
        "flops_per_token": train.flops_per_token(model),
        "attention_flops_per_token": 12 * train.DEPTH * train.WIDTH * train.SEQ_LEN,
        "peak_gib": round(watch.peak / 2**30, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    result = {
        "forward": forward_and_optimizer(load("h100")),
        "backward": forward_and_backward(load("h100")),
    }
    json.dump(result, sys.stdout)
