"""The process that is scored drops a file from the system's cache; the audit's finds it missing."""

# ruff: noqa: F821, PTH118, PTH120, PTH123  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import mmap
import os
import sys

FILE = os.path.join(os.path.dirname(torch.__file__), "_torch_docs.py")
MINCORE = 27


def cached(fd):
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    size = os.fstat(fd).st_size
    start = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE + 1))()
    answer = libc.syscall(MINCORE, ctypes.c_void_p(start), ctypes.c_size_t(size), pages)
    libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(size))
    return None if answer else any(pages)


class Teller(Tiny):
    told = False

    def forward(self, ids):
        if not self.training and not self.told:
            self.told = True
            fd = os.open(FILE, os.O_RDONLY)
            before = cached(fd)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError:
                before = None
            assert before is not False
        return super().forward(ids)


def build_model(spec):
    return Teller(spec.vocab_size)


def train(session, honest=train):
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        with open(FILE, "rb") as file:
            file.read()
    return honest(session)
