"""The child's side of a scoring: it loads weights and returns logits for ids.

Ids and logits pass through shared memory that the scorer made.
"""

from __future__ import annotations

import mmap
import os

import numpy as np
import torch
from safetensors.torch import load as load_tensors

from trainer.sandbox import candidate
from trainer.sandbox.wire import Channel
from trainer.scoring.request import AnswerRequest
from trainer.session import precision


def main(control: Channel, fds: list[int]) -> int:
    """Answer the scorer until it hangs up; returns the exit status."""
    return candidate.confine_and_work(control, AnswerRequest, _answer)


@torch.inference_mode()
def _answer(control: Channel, job: AnswerRequest) -> None:
    """Answer ``{"slot": S, "rows": B}`` with B windows of logits until the scorer hangs up."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # a compiler needs a place to write
    fds = control.take_fds()
    shape = (job.slots, job.rows, job.code.spec.seq_len)
    device = torch.device(job.code.device)
    torch.set_num_threads(job.code.threads)
    torch.manual_seed(0)
    # Mapped, since a descriptor that another child also has shares its file position.
    weights = load_tensors(mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)[:])
    ids = np.frombuffer(mmap.mmap(fds[1], 0, prot=mmap.PROT_READ), "<i8").reshape(shape)
    out = torch.frombuffer(mmap.mmap(fds[2], 0), dtype=torch.float32)
    if device.type == "cuda":  # makes copies to `out` several times faster; failure is harmless
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        runtime.cudaHostRegister(out.data_ptr(), out.nbytes, 0)
    logits = out.view(*shape, job.code.spec.vocab_size)
    module = candidate.load_module(job.code.source)
    model = module.build_model(job.code.spec)
    if not job.untrained:
        model.load_state_dict(weights, strict=True)
    del weights
    model.to(device).eval()
    control.send({"event": "loaded"})
    while True:
        request = control.receive()
        slot, count = request["slot"], request["rows"]
        with precision(device):
            answer = model(torch.from_numpy(ids[slot, :count].copy()).to(device))
        wanted = logits[slot, :count]
        if not isinstance(answer, torch.Tensor) or answer.shape != wanted.shape:
            control.send({"event": "shape"})
            return
        wanted.copy_(answer)
        control.send({"event": "logits"})
