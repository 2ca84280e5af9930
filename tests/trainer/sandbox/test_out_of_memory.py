"""What counts as out of memory, by type and by what is said."""

import errno

import numpy as np
import pytest
import torch

from trainer.sandbox.candidate import is_out_of_memory


def refused_by_numpy() -> BaseException:
    try:
        np.empty(1 << 58, dtype=np.int8)
    except MemoryError as error:
        return error
    raise AssertionError("that much memory was given")


def refused_by_torch() -> BaseException:
    try:
        torch.empty(1 << 58, dtype=torch.int8)
    except RuntimeError as error:
        return error
    raise AssertionError("that much memory was given")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        refused_by_numpy(),
        refused_by_torch(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a ..."),
        torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("HIP error: hipErrorOutOfMemory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.95 GB, other allocations: ...)"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("OutOfMemoryError: CUDA out of memory."),  # as Inductor passes it on
    ],
    ids=lambda error: str(error).splitlines()[0][:50] if str(error) else type(error).__name__,
)
def test_is_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("out of resource: shared memory, Required: 270336, Hardware limit: 232448"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (8x64 and 32x8)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("the table of pairs is out of memory cells"),
        KeyboardInterrupt(),
    ],
    ids=str,
)
def test_is_another_failure(error: BaseException) -> None:
    assert not is_out_of_memory(error)
