"""Leaves marks on files that it may only read, where a later training finds them."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import array
import fcntl
import os

F_GET_RW_HINT, F_SET_RW_HINT = 1035, 1036
FS_IOC_GETVERSION, FS_IOC_SETVERSION = 0x80087601, 0x40087602
FS_IOC_ENABLE_VERITY, FS_IOC_SET_POLICY, FS_IOC_SETLABEL = 0x40806685, 0x800C6613, 0x41009432


def hint(fd):
    fcntl.fcntl(fd, F_SET_RW_HINT, fcntl.fcntl(fd, F_GET_RW_HINT, bytes(8)))


def version(fd):
    now = array.array("i", [0, 0])
    fcntl.ioctl(fd, FS_IOC_GETVERSION, now)
    fcntl.ioctl(fd, FS_IOC_SETVERSION, now)


def verity(fd):
    try:
        fcntl.ioctl(fd, FS_IOC_ENABLE_VERITY, bytes(128))
    except OSError as error:
        if error.errno != 1:
            print("open: it was the file system that refused", error)
        raise


def lease(fd):
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def train(session, honest=train):
    fd = os.open(torch.__file__, os.O_RDONLY)
    for mark in (hint, version, verity, lease):
        try:
            mark(fd)
            print("open:", mark.__name__)
        except OSError:
            pass
    return honest(session)
