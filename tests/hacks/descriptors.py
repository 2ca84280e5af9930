"""Tries every number for a descriptor that somebody forgot, and to write to those it was given."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import fcntl
import os
import stat


def held():
    for fd in range(3, 20_000):
        try:
            yield fd, os.fstat(fd).st_mode, fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            continue


def train(session, honest=train):
    sockets = [fd for fd, mode, _ in held() if stat.S_ISSOCK(mode)]
    output = os.fstat(1)
    others = [
        fd
        for fd, mode, _ in held()
        if not stat.S_ISSOCK(mode) and not os.path.samestat(os.fstat(fd), output)
    ]
    if len(sockets) > 1 or others:
        print("open:", sockets, others)
    model = honest(session)
    for fd, mode, access in held():
        if stat.S_ISREG(mode):
            if access != os.O_RDONLY:
                print("open: to write", fd)
            for flags in (os.O_RDONLY, os.O_RDWR):
                for path in (f"/proc/self/fd/{fd}", f"/dev/fd/{fd}"):
                    try:
                        os.open(path, flags)
                        print("open:", path)
                    except OSError:
                        pass
    return model
