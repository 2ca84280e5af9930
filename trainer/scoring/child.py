"""The child's side of a scoring: it loads weights and returns logits for ids.

Ids and logits pass through shared memory that the scorer made.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os

import numpy as np
import torch
from safetensors.torch import load as load_tensors

from trainer.contract import trains_in_mixed_precision
from trainer.sandbox import candidate
from trainer.sandbox.wire import Channel
from trainer.scoring.request import AnswerRequest
from trainer.session import precision


def main(control: Channel, fds: list[int]) -> int:
    """Answer the scorer until it hangs up; returns the exit status."""
    return candidate.confine_and_work(control, AnswerRequest, _answer)


@torch.inference_mode()
def _answer(control: Channel, job: AnswerRequest) -> None:
    """Answer ``{"slot": S, "rows": B, "length": L, "at": ...}`` until the scorer hangs up.

    The answer is all logits [B, L, V] of B windows; where ``at`` lists a position of each window,
    those of these positions only [B, V].
    """
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # a compiler needs a place to write
    fds = control.take_fds()
    device = torch.device(job.code.device)
    torch.set_num_threads(job.code.threads)
    torch.manual_seed(0)
    # Mapped, since a descriptor that another child also has shares its file position.
    weights = load_tensors(mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)[:])
    ids = np.frombuffer(mmap.mmap(fds[1], 0, prot=mmap.PROT_READ), "<i8").reshape(job.slots, -1)
    out = torch.frombuffer(mmap.mmap(fds[2], 0), dtype=torch.float32)
    if device.type == "cuda":  # makes copies to `out` several times faster; failure is harmless
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        runtime.cudaHostRegister(out.data_ptr(), out.nbytes, 0)
    out = out.view(job.slots, -1)
    module = candidate.load_module(job.code.source)
    model = module.build_model(job.code.spec)
    if not job.untrained:
        model.load_state_dict(weights, strict=True)
    del weights
    model.to(device).eval()
    mixed = trains_in_mixed_precision(job.code.source)
    control.send({"event": "loaded"})
    while True:
        request = control.receive()
        slot, rows, length, at = (request[name] for name in ("slot", "rows", "length", "at"))
        windows = torch.from_numpy(ids[slot, : rows * length].reshape(rows, length).copy())
        with precision(device) if mixed else contextlib.nullcontext():
            answer = model(windows.to(device))
        shape: tuple[int, ...] = (rows, length, job.code.spec.vocab_size)
        if not isinstance(answer, torch.Tensor) or answer.shape != shape:
            control.send({"event": "shape"})
            return
        if at is not None:
            answer, shape = answer[torch.arange(rows), torch.tensor(at)], (rows, shape[-1])
        out[slot, : math.prod(shape)].view(shape).copy_(answer)
        control.send({"event": "logits"})
