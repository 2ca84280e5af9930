"""Looks for a key in the environment, its own and that of who started it."""

# ruff: noqa: F821, PTH123  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import os

KNOWN = (
    *("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME", "LD_LIBRARY_PATH", "CUDA_", "NVIDIA_"),
    "AUTORESEARCH_OWNER",
    *(
        "PYTHON",
        "PYTORCH_",
        "OPENBLAS_",
        "GOMP_",
        "MALLOC_",
        "OMP_",
        "TORCH",
        "TRITON_",
        "MKL_",
        "KMP_",
        "CC",
        "CXX",
    ),
)


def train(session, honest=train):
    environ = (ctypes.c_char_p * 10_000).in_dll(ctypes.CDLL(None), "environ")
    start = ctypes.cast(environ, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p)))[0]
    raw = []
    while start[len(raw)] is not None:
        raw.append(start[len(raw)].decode().partition("=")[0])
    for name in {*os.environ, *raw}:
        if not name.startswith(KNOWN):
            print("open:", name)
    for pid in ("self", os.getppid(), 1):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                text = file.read()
        except OSError:
            continue
        for entry in text.split(b"\0"):
            if entry and not entry.decode().startswith(KNOWN):
                print("open:", pid, entry)
    return honest(session)
