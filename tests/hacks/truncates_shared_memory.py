"""Makes the memory that the scorer reads from shorter, longer, or sealed against the scorer."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import fcntl
import os
import stat


class Saw(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        if not self.training:
            for fd in range(3, 100):
                with contextlib.suppress(OSError, ValueError):
                    if stat.S_ISREG(os.fstat(fd).st_mode):
                        saw(fd)
        return logits


def saw(fd):
    for size in (0, 1, 1 << 40):
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
    for seal in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SEAL | 0x10):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seal)
    with contextlib.suppress(OSError):
        os.posix_fallocate(fd, 0, 1 << 40)


def build_model(spec):
    return Saw(spec.vocab_size)
