"""A process of the scoring lives on and holds a lock, by which it could talk to the audit's."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import fcntl
import os
import time


class Survivor(Tiny):
    held = None

    def forward(self, ids):
        if not self.training and self.held is None:
            folder = os.path.join(os.path.dirname(torch.__file__), "nn", "modules")  # noqa: PTH118, PTH120
            files = sorted(os.listdir(folder))  # noqa: PTH208
            file = os.path.join(folder, files[os.getppid() % len(files)])  # noqa: PTH118
            Survivor.held = os.open(file, os.O_RDONLY)
            fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where another holds it
            with contextlib.suppress(OSError):  # where the system cannot forbid it
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(1000)
        return super().forward(ids)


def build_model(spec):
    return Survivor(spec.vocab_size)
