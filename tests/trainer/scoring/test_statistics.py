"""The lie detectors' statistics, on differences with a known truth."""

import numpy as np
import pytest

from trainer.scoring import statistics

RNG = np.random.default_rng(0)
QUIET = np.zeros(5000)


def test_no_difference_is_believed_without_a_bound():
    finding = statistics.causality(np.zeros(48), np.zeros(5000), QUIET)
    assert finding == statistics.Finding(True, "", 0.0)
    assert statistics.state(np.zeros(5000)) == finding


def test_rounding_is_believed():
    finding = statistics.causality(
        RNG.normal(0, 1e-4, 48), RNG.normal(0, 1e-4, 5000), RNG.normal(0, 1e-4, 5000)
    )
    assert finding.ok
    assert 0 <= finding.bound_nats < 1e-4


def test_a_leak_at_the_cut_is_named():
    finding = statistics.causality(RNG.exponential(2.0, 48), np.zeros(5000), QUIET)
    assert not finding.ok
    assert finding.reason.startswith("causality: ")


def test_a_leak_before_the_cut_is_named():
    moved = np.zeros(5000)
    moved[:100] = 0.5
    assert not statistics.causality(np.zeros(48), moved, QUIET).ok


def test_a_leak_at_few_cuts_is_not_drowned_by_the_positions_before_them():
    at_cut = np.zeros(48)
    at_cut[:2] = 3.0
    assert not statistics.causality(at_cut, np.zeros(5000), QUIET).ok


def test_a_faint_leak_everywhere_is_seen_in_the_mean():
    assert not statistics.state(RNG.normal(0.01, 0.05, 5000)).ok
    assert not statistics.state(RNG.normal(-0.01, 0.05, 5000)).ok


def test_what_cannot_be_told_from_nothing_is_bounded():
    at_cut = np.zeros(48)
    at_cut[0] = 0.6
    finding = statistics.causality(at_cut, np.zeros(5000), QUIET)
    assert finding.ok
    assert finding.bound_nats >= 2 * at_cut.mean()


@pytest.mark.parametrize("size", [1, 2])
def test_few_positions(size):
    assert statistics.causality(np.zeros(size), np.zeros(0), np.zeros(0)).ok
    assert not statistics.causality(np.full(size, 2.0), np.zeros(0), np.zeros(0)).ok
    assert statistics.state(np.zeros(size)).ok


def test_training_must_show_in_the_loss():
    losses = RNG.exponential(2.0, 2000)
    assert statistics.movement(losses + 0.5, losses).ok
    assert statistics.movement(np.full(2000, np.nan), losses).ok
    for untrained in (losses, losses - 0.5, losses + RNG.normal(0, 0.01, 2000)):
        finding = statistics.movement(untrained, losses)
        assert not finding.ok
        assert finding.reason.startswith("movement: ")


def test_a_rare_leak_is_bounded_where_none_was_seen():
    audited = np.full(2000, 3.0)
    finding = statistics.prefix(np.zeros(2000), np.zeros(9000), audited)
    assert finding.ok
    assert finding.bound_nats == pytest.approx(3.0 * 3.0 / 2000, rel=0.02)
    one = np.zeros(2000)
    one[0] = 0.5
    assert statistics.prefix(one, np.zeros(9000), audited).bound_nats > finding.bound_nats


def test_a_rare_leak_is_named():
    rare = np.zeros(2000)
    rare[:3] = 2.0
    assert not statistics.prefix(rare, np.zeros(9000), np.full(2000, 3.0)).ok


def test_the_jitter_of_the_controls_is_granted():
    jitter = np.where(RNG.random(9000) < 0.01, 0.2, 0.0)
    moved = np.where(RNG.random(2000) < 0.01, 0.2, 0.0) * RNG.choice([-1, 1], 2000)
    assert statistics.prefix(moved, jitter, np.full(2000, 3.0)).ok
    assert not statistics.prefix(moved, np.zeros(9000), np.full(2000, 3.0)).ok


def test_poisson_limits():
    """Garwood's exact limits: 2.996, 4.744, 7.754, 16.962."""
    found = [statistics.poisson_upper(count) for count in (0, 1, 3, 10)]
    assert found == pytest.approx([2.996, 4.744, 7.754, 16.962], rel=0.01)


def test_small_moves_count_where_answers_do_not_jitter():
    before = np.zeros(5000)
    before[:200] = RNG.choice([-0.05, 0.05], 200)
    assert not statistics.causality(np.zeros(48), before, QUIET).ok
    assert statistics.causality(np.zeros(48), before, RNG.normal(0, 0.02, 5000)).ok
