"""The neighbour is seen, and what we do ourselves is not taken for one."""

import os
import subprocess
import sys

import psutil
import pytest

from trainer.training import load
from trainer.training.load import Reading

BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 1: pass"


@pytest.mark.parametrize(
    ("busy", "ours", "share"),
    [(0, 0, 0.0), (4, 4, 0.0), (4, 2, 0.5), (9, 0, 1.0), (3, 4, 0.0), (2, 0, 0.0)],
)
def test_share_of_all_processors(
    monkeypatch: pytest.MonkeyPatch, busy: float, ours: float, share: float
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    assert load.share(Reading(0, 10, 5), Reading(2, 10 + busy, 5 + ours)) == share


def test_what_a_child_of_ours_burns_is_ours() -> None:
    before = load.read(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = load.read(os.getpid())
    assert after.ours - before.ours > 0.9
    assert after.busy - before.busy > 0.9
