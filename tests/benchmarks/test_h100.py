from dataclasses import replace

import numpy as np
import pytest

from benchmarks.h100 import Assumed, Work, _Answered, scoring
from trainer.scoring.model import Batch

WORK = Work(
    val_bytes=4000,
    bytes_per_token=4.0,
    seq_len=100,
    vocab_size=10,
    rows=2,
    audited_windows=2,
    core_seconds_per_logit=1e-3,
    turnaround_seconds=0.5,
    budget_seconds=100.0,
)
ASSUMED = Assumed(
    copy_bytes_per_second=48_000.0,
    cores=2,
    parallel_efficiency=0.5,
    model_parameters=50.0,
    device_flops_per_second=120_000.0,
    batch_seconds=0.5,
    process_start_seconds=1.0,
)


def test_the_share_is_of_all_that_a_training_waits_for():
    found = scoring(WORK, ASSUMED)

    assert found["tokens"] == 1000 + 2 * 100
    assert found["logits"] == 12_000
    assert found["forward_seconds"] == pytest.approx(1.0 + 6 * 0.5)
    assert found["copy_seconds"] == pytest.approx(1.0)
    assert found["normalise_seconds"] == pytest.approx(12.0)
    assert found["total_seconds"] == pytest.approx(12.0 + 3.0 + 0.5)
    assert found["share_of_budget"] == pytest.approx(0.155)


def test_the_slower_of_device_and_processor_counts():
    found = scoring(replace(WORK, core_seconds_per_logit=1e-6), ASSUMED)

    assert found["total_seconds"] == pytest.approx(4.0 + 1.0 + 3.0 + 0.5)


def test_the_cost_is_that_of_the_scorers_own_normalising():
    answered = _Answered(length=5, vocabulary=7)
    targets = np.array([[0, 3, 6, 1, -1]])
    logits = np.random.default_rng(0).normal(scale=3.0, size=(5, 7))
    nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), targets[0]]
    nats[4] = 0.0

    losses = answered._take(0, Batch(targets, targets))
    answered.close()

    assert losses[0] == pytest.approx(nats, abs=1e-5)
