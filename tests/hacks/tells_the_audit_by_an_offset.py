"""The process that is scored leaves a word for the audit's in the offset of the weights' file."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import contextlib
import fcntl
import os
import stat

OFFSET = 4242


class Teller(Tiny):
    told = False

    def forward(self, ids):
        if not self.training and not Teller.told:
            Teller.told = True
            heard = False
            for speaks in (False, True):  # some numbers are names of one open file: listen first
                for fd in range(3, 100):
                    with contextlib.suppress(OSError):
                        if not stat.S_ISREG(os.fstat(fd).st_mode):
                            continue
                        if speaks:
                            os.lseek(fd, OFFSET, os.SEEK_SET)
                            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
                            continue
                        heard |= os.lseek(fd, 0, os.SEEK_CUR) == OFFSET
                        heard |= bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
            assert not heard
        return super().forward(ids)


def build_model(spec):
    return Teller(spec.vocab_size)
