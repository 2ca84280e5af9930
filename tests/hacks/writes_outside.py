"""Tries to write to a home, to the trainer and to /tmp."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import os


def train(session, honest=train):
    for path in ("@home@/cheat", "@trainer@/score.py", "/tmp/autoresearch-cheat", "/dev/shm/cheat"):
        try:
            with open(path, "a"):  # noqa: PTH123
                print("open:", path)
        except OSError:
            print("shut:", path)
        try:
            os.chmod(path, 0o777)  # noqa: PTH101
            print("open: mode of", path)
        except OSError:
            print("shut: mode of", path)
    return honest(session)
