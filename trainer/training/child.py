"""The untrusted side: the two roles in which candidate code runs.

``train`` trains and leaves weights in its scratch folder. ``eval`` loads weights and answers ids
with logits through shared memory that the scorer made. Both confine themselves before they are
given the candidate's source, and both answer to a parent that believes none of it.
"""

from __future__ import annotations

import base64
import linecache
import mmap
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from trainer.presets import Budget
from trainer.sandbox import confine as sandbox
from trainer.sandbox.wire import Channel, Gone
from trainer.session import Clock, ContractError, Session, Source, Spec
from trainer.training import compile_cache

_FILENAME = "train.py"


def main(role: str, control: Channel) -> int:
    """Run a role to its end; returns the exit status."""
    if role == "probe":
        control.send(probe())
        return 0
    job = control.receive()
    try:
        sandbox.confine(job["level"], job["readable"], job["scratch"])
    except sandbox.SandboxError as error:
        control.send({"event": "unconfined", "reason": str(error)})
        return 1
    control.send({"event": "confined"})
    if job["scratch"] is not None:  # where temporary files and relative paths can be written
        os.environ["TMPDIR"] = tempfile.tempdir = job["scratch"]
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{job['scratch']}/{compile_cache.FOLDER}/inductor"
        os.environ["TRITON_CACHE_DIR"] = f"{job['scratch']}/{compile_cache.FOLDER}/triton"
        os.chdir(job["scratch"])
    else:
        os.environ["TORCHDYNAMO_DISABLE"] = "1"  # a compiler needs a place to write
    job = control.receive(want_fds=True)
    torch.set_num_threads(job["threads"])
    try:
        if role == "train":
            _train(control, job)
        else:
            _evaluate(control, job, control.take_fds())
    except Gone:
        return 1
    except BaseException as error:  # noqa: BLE001  the candidate may raise anything at all
        control.send(_failure(error))
        return 1
    return 0


def probe() -> dict[str, Any]:
    """What this machine has, asked in a process of its own because looking initialises devices."""
    answer: dict[str, Any] = {"device": "cpu", "name": "", "torch": torch.__version__}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        answer |= {"device": "cuda", "name": properties.name}
        answer["device_memory_mb"] = properties.total_memory // 2**20
    elif torch.backends.mps.is_available():
        answer |= {"device": "mps", "name": "Apple GPU"}
    return answer


def _failure(error: BaseException) -> dict[str, Any]:
    kind = "crashed"
    refused = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    if refused or isinstance(error, MemoryError | torch.OutOfMemoryError):
        kind = "oom"
    elif isinstance(error, ContractError):
        kind = "invalid"
    frames = traceback.format_exception(error)
    return {
        "event": "failed",
        "kind": kind,
        "error": f"{type(error).__name__}: {error}"[:2000],
        "traceback": "".join(frames)[-8000:],
    }


def load_module(source: str) -> types.ModuleType:
    """Execute a train.py as the module ``train``, its lines known to tracebacks."""
    module = types.ModuleType("train")
    module.__file__ = _FILENAME
    sys.modules["train"] = module
    lines = source.splitlines(keepends=True)
    linecache.cache[_FILENAME] = (len(source), None, lines, _FILENAME)
    exec(compile(source, _FILENAME, "exec"), module.__dict__)
    return module


def _train(control: Channel, job: Mapping[str, Any]) -> None:
    device = torch.device(job["device"])
    torch.manual_seed(job["seed"])
    clock = Clock(Budget(**job["budget"]), replay=unpack_trace(job["trace"]))
    spec = Spec(**job["spec"])

    def await_data() -> Mapping[str, Source]:
        control.send({"event": "ready"})
        answer = control.receive(want_fds=True)
        if answer.get("seconds") is not None:
            clock.budget = Budget(seconds=answer["seconds"])
        return _sources(answer["sources"], control.take_fds())

    session = Session(
        spec=spec,
        device=device,
        seed=job["seed"],
        clock=clock,
        await_data=await_data,
        emit=control.send,
    )
    module = load_module(job["source"])
    model = module.train(session)
    if not isinstance(model, torch.nn.Module):
        raise ContractError(f"train() returned {type(model).__name__}, not a torch.nn.Module")
    weights = plain_state_dict(model)
    save_file(weights, job["weights"])
    control.send(
        {
            "event": "weights",
            "steps": session.logged_steps or clock.steps,
            "tokens": clock.tokens,
            "params": sum(p.numel() for p in model.parameters()),
            "device_memory_mb": _device_memory_mb(device),
            "trace": pack_trace(clock.trace),
        }
    )


def plain_state_dict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every entry as a contiguous CPU copy, tied weights too, compiled wrappers' prefix removed."""
    return {
        name.replace("_orig_mod.", ""): tensor.detach().to("cpu").clone().contiguous()
        for name, tensor in model.state_dict().items()
    }


def _device_memory_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def _sources(described: list[dict[str, Any]], fds: list[int]) -> dict[str, Source]:
    sources = {}
    for i, part in enumerate(described):
        sources[part["name"]] = Source(
            tokens=np.memmap(os.fdopen(fds[2 * i], "rb"), dtype="<u2", mode="r"),
            doc_starts=np.memmap(os.fdopen(fds[2 * i + 1], "rb"), dtype="<i8", mode="r"),
            bytes_per_token=part["bytes_per_token"],
            in_domain=part["in_domain"],
        )
    return sources


def pack_trace(trace: list[float]) -> str:
    """A clock trace as base64 of little-endian float64."""
    return base64.b64encode(np.asarray(trace, dtype="<f8").tobytes()).decode()


def unpack_trace(text: str | None) -> list[float] | None:
    if text is None:
        return None
    readings: list[float] = np.frombuffer(base64.b64decode(text), dtype="<f8").tolist()
    return readings


@torch.inference_mode()
def _evaluate(control: Channel, job: Mapping[str, Any], fds: list[int]) -> None:
    """Answer ``{"slot": S, "rows": B}`` with B windows of logits until the scorer hangs up.

    ``fds`` are the weights, the memory for ids (int64 [slots, rows, T]) and that for logits
    (float32 [slots, rows, T, V]). With ``untrained`` the model answers without its weights.
    """
    spec = Spec(**job["spec"])
    shape = (job["slots"], job["rows"], spec.seq_len)
    device = torch.device(job["device"])
    torch.manual_seed(0)
    # Mapped, since a descriptor that another child has too shares its position.
    weights = load_tensors(mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)[:])
    ids = np.frombuffer(mmap.mmap(fds[1], 0, prot=mmap.PROT_READ), "<i8").reshape(shape)
    out = torch.frombuffer(mmap.mmap(fds[2], 0), dtype=torch.float32)
    if device.type == "cuda":  # copied to several times faster; where it is refused, as before
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        runtime.cudaHostRegister(out.data_ptr(), out.nbytes, 0)
    logits = out.view(*shape, spec.vocab_size)
    module = load_module(job["source"])
    model = module.build_model(spec)
    if not job["untrained"]:
        model.load_state_dict(weights, strict=True)
    del weights
    model.to(device).eval()
    control.send({"event": "loaded"})
    while True:
        request = control.receive()
        slot, count = request["slot"], request["rows"]
        answer = model(torch.from_numpy(ids[slot, :count].copy()).to(device))
        wanted = logits[slot, :count]
        if not isinstance(answer, torch.Tensor) or answer.shape != wanted.shape:
            control.send({"event": "shape"})
            return
        wanted.copy_(answer)
        control.send({"event": "logits"})
