"""The child's side of a training: it trains and leaves weights in its scratch folder."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from trainer.contract import Spec
from trainer.presets import Budget
from trainer.sandbox import candidate
from trainer.sandbox.wire import Channel, Gone
from trainer.session import Clock, ContractError, Session, Source
from trainer.training import compile_cache
from trainer.training.instruments import Instruments, ProfileClock, ProfiledSession
from trainer.training.request import WEIGHTS, TrainRequest


def main(control: Channel, fds: list[int]) -> int:
    """Train what the parent sends; returns the exit status."""
    return candidate.confine_and_work(control, TrainRequest, _train)


def probe(control: Channel, fds: list[int]) -> int:
    """Tell what this machine has: in a process of its own, because that initialises devices."""
    answer: dict[str, Any] = {"device": "cpu", "name": "", "torch": torch.__version__}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        answer |= {"device": "cuda", "name": properties.name}
        answer["device_memory_mb"] = properties.total_memory // 2**20
        answer["devices"] = torch.cuda.device_count()
    elif torch.backends.mps.is_available():
        answer |= {"device": "mps", "name": "Apple GPU"}
    control.send(answer)
    return 0


def _train(control: Channel, job: TrainRequest) -> None:
    scratch = Path.cwd()
    compile_cache.unpack(scratch)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / compile_cache.FOLDER / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(scratch / compile_cache.FOLDER / "triton")
    device = torch.device(job.code.device)
    on_cuda = device.type == "cuda"
    torch.set_num_threads(job.code.threads)
    torch.manual_seed(job.seed)
    sent = 0

    def send(message: dict[str, Any]) -> None:
        """Send a message and what the clock was asked since the last: all that a crash leaves."""
        nonlocal sent
        control.send({**message, "trace": pack_trace(clock.trace[sent:])})
        sent = len(clock.trace)

    def end_turn() -> tuple[float, float]:
        if on_cuda:  # work that is queued belongs to this turn
            torch.cuda.synchronize()
        send({"event": "turn", "steps": clock.steps})
        answer = control.receive()
        return answer["spent"], answer["turn"]

    clock = Clock(job.budget, unpack_trace(job.trace), end_turn)
    instruments = Instruments(job.code.spec.vocab_size, device) if job.profiles else None
    if instruments is not None:
        clock = ProfileClock()

    def await_data() -> Mapping[str, Source]:
        if job.packs:
            compile_cache.pack(scratch)
        control.send({"event": "ready"})
        answer = control.receive(want_fds=True)
        if answer.get("seconds") is not None:
            clock.budget = Budget(seconds=answer["seconds"])
        clock.turn_seconds = answer.get("turn")
        return _sources(answer["sources"], control.take_fds())

    kind = Session if instruments is None else partial(ProfiledSession, instruments)
    session = kind(
        spec=job.code.spec,
        device=device,
        seed=job.seed,
        clock=clock,
        await_data=await_data,
        emit=send,
        compiles=job.compiles,
    )
    # In a module of its own: what this one keeps must not be fake tensors.
    counted = candidate.load_module(job.code.source) if on_cuda else None
    flops = flops_per_token(counted.build_model, job.code.spec) if counted is not None else 0.0
    module = candidate.load_module(job.code.source)
    watch: AbstractContextManager[None] = nullcontext()
    if instruments is not None:
        watch = instruments.attached()
    try:
        with watch:
            model = module.train(session)
    except BaseException as error:
        if not isinstance(error, Gone):
            send({"event": "readings"})
        raise
    if not isinstance(model, torch.nn.Module):
        raise ContractError(f"train() returned {type(model).__name__}, not a torch.nn.Module")
    weights = plain_state_dict(model)
    save_file(weights, scratch / WEIGHTS)
    send(
        {
            "event": "weights",
            "steps": session.logged_steps or clock.steps,
            "tokens": clock.tokens,
            "params": sum(p.numel() for p in model.parameters()),
            "flops_per_token": flops,
            "profile": instruments.found() if instruments is not None else None,
            "device_memory_mb": torch.cuda.max_memory_allocated(device) / 2**20 if on_cuda else 0.0,
        }
    )


def flops_per_token(build_model: Callable[[Spec], torch.nn.Module], spec: Spec) -> float:
    """FLOPs of forward and backward in products with weights, on fake tensors; attention is none.

    0 where the model does not run on fake tensors: the figure is for show, the training goes on.
    """
    with FakeTensorMode(), FlopCounterMode(display=False) as counter, torch.no_grad():
        try:
            build_model(spec)(torch.zeros(1, spec.seq_len, dtype=torch.int64))
        except Exception as error:  # noqa: BLE001 # a candidate may do anything in its forward pass
            print(f"FLOPs cannot be counted: {type(error).__name__}", file=sys.stderr)
            return 0.0
    by_operation: Mapping[object, int] = counter.get_flop_counts().get("Global", {})
    products = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.convolution)
    return 3.0 * sum(by_operation.get(product, 0) for product in products) / spec.seq_len


def plain_state_dict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every entry, tied weights too, as a contiguous CPU copy; removes torch.compile's prefix."""
    return {
        name.replace("_orig_mod.", ""): tensor.detach().to("cpu").clone().contiguous()
        for name, tensor in model.state_dict().items()
    }


def _sources(described: list[tuple[str, float, bool]], fds: list[int]) -> dict[str, Source]:
    """The parts of the corpus; of each, ``fds`` has its tokens and where its documents start."""
    arrays = [os.fdopen(fd, "rb") for fd in fds]
    return {
        name: Source(
            tokens=np.memmap(arrays[2 * i], dtype="<u2", mode="r"),
            doc_starts=np.memmap(arrays[2 * i + 1], dtype="<i8", mode="r"),
            bytes_per_token=bytes_per_token,
            in_domain=in_domain,
        )
        for i, (name, bytes_per_token, in_domain) in enumerate(described)
    }


def pack_trace(trace: list[float]) -> str:
    """A clock trace as base64 of little-endian float64."""
    return base64.b64encode(np.asarray(trace, dtype="<f8").tobytes()).decode()


def unpack_trace(text: str | None) -> list[float] | None:
    if text is None:
        return None
    readings: list[float] = np.frombuffer(base64.b64decode(text), dtype="<f8").tolist()
    return readings
