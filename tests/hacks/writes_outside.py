"""Tries to write to a home, to the trainer and to /tmp."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import os


def train(session, honest=train):
    for path in (
        "@home@",
        "@trainer@/measure.py",
        "/tmp/autoresearch-cheat",
        "/dev/shm/cheat",
    ):
        try:
            file = os.path.join(path, "cheat") if os.path.isdir(path) else path  # noqa: PTH112, PTH118
            with open(file, "a"):  # noqa: PTH123
                print("open:", file)
        except OSError:
            print("shut:", path)
        try:
            os.chmod(path, os.stat(path).st_mode)  # noqa: PTH101, PTH116
            print("open: mode of", path)
        except OSError:
            print("shut: mode of", path)
    return honest(session)
