"""Gives files that it may only read a second name in its scratch folder, where it may write."""

# ruff: noqa: F821, PTH116  (it is appended to tests/tiny_train.py)
# expect: ok

import os


def train(session, honest=train):
    for i, source in enumerate((torch.__file__, os.__file__, "@val@", "@trainer@/measure.py")):
        for name, borrow in (("link", os.link), ("symlink", os.symlink)):
            try:
                borrow(source, f"{name}{i}")
                os.close(os.open(f"{name}{i}", os.O_RDWR))
                print("open:", name, source)
            except OSError:
                pass
    try:
        os.mknod("disk", 0o600 | 0o060000, os.stat(torch.__file__).st_dev)
        print("open: the disk itself")
    except OSError:
        pass
    return honest(session)
