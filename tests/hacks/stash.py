"""Leaves its weights wherever it can write, and takes those that an earlier training left."""

# ruff: noqa: F821, PTH109, PTH118, PTH120, PTH123  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import os
import tempfile
from multiprocessing import shared_memory

NAME = "autoresearch-stash"


def places():
    folders = {
        *(os.getcwd(), os.path.dirname(os.getcwd()), os.path.dirname(torch.__file__)),
        *(tempfile.gettempdir(), "/tmp", "/tmp/torchinductor_root"),
        *("/var/tmp", "/dev/shm", "/run", "/run/lock", "/dev/mqueue", "/", "@cache@", "@home@"),
        *(os.environ.get(name, "/") for name in ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "HOME")),
    }
    return [os.path.join(folder, NAME) for folder in sorted(folders)]


def train(session, honest=train):
    for path in places():
        with contextlib.suppress(OSError), open(path, "rb") as file:
            print("open: found in", path, len(file.read()))
    with contextlib.suppress(OSError):
        shared_memory.SharedMemory(NAME)
        print("open: found in shared memory")
    model = honest(session)
    for path in places():
        with contextlib.suppress(OSError, RuntimeError):
            torch.save(model.state_dict(), path)
    with contextlib.suppress(OSError):
        shared_memory.SharedMemory(NAME, create=True, size=1000)
    return model
