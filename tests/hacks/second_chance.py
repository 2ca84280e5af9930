"""Kills itself where it is out of luck, to be trained again as if something else had killed it."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: oom memory: killed by SIGKILL

import os


def train(session, honest=train):
    model = honest(session)
    luck = int.from_bytes(os.urandom(1)) / 256
    if luck < 1.0:  # 0.6 pays best; so the test sees it each time
        os.kill(os.getpid(), 9)
    return model
