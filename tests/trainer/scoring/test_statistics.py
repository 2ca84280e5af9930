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


class TestPrefixes:
    """The stronger audit."""

    POPULATION = 40_000
    HONEST = np.quantile(RNG.gamma(1.3, 2.4, 10**6), (np.arange(POPULATION) + 0.5) / POPULATION)
    """About as a small language model loses: 3.1 nats in the mean, 1 in 1,000 above 15."""

    def test_a_rare_leak_is_bounded_where_none_was_seen(self):
        audited = np.full(2000, 3.0)
        finding = statistics.prefix(np.zeros(2000), QUIET, audited, 10**9)
        assert finding.ok
        assert finding.bound_nats == pytest.approx(3.0 * 3.0 / 2000, rel=0.02)
        one = np.zeros(2000)
        one[0] = 0.5
        seen = statistics.prefix(one, QUIET, audited, 10**9)
        assert seen.ok and seen.bound_nats > 1.5 * finding.bound_nats

    def test_a_rare_leak_is_named(self):
        rare = np.zeros(2000)
        rare[:3] = 2.0
        assert not statistics.prefix(rare, QUIET, np.full(2000, 3.0), 10**6).ok

    def test_the_jitter_of_the_controls_is_granted(self):
        jitter = np.where(RNG.random(9000) < 0.01, 0.2, 0.0)
        moved = np.where(RNG.random(2000) < 0.01, 0.2, 0.0) * RNG.choice([-1, 1], 2000)
        audited = np.full(2000, 3.0)
        found = statistics.prefix(moved, jitter, audited, 10**6)
        assert found.ok
        assert found.bound_nats < 30 * 3.0 / 2000  # not for the 20 that moved and as many more
        assert not statistics.prefix(moved, QUIET, audited, 10**6).ok

    @pytest.mark.parametrize("cuts", [2048, 8000, 30_000])
    @pytest.mark.parametrize("rate", [0.3, 1.0, 2.0, 3.0, 10.0])
    @pytest.mark.parametrize("spread", [1, 10])
    def test_a_peek_where_its_own_loss_is_high_is_seen_or_charged(self, rate, spread, cuts):
        """It reads the next token where it would lose more than a threshold.

        Args:
            rate: positions that the audit meets on average.
            spread: it peeks at one in so many of the positions above a threshold.
        """
        rng = np.random.default_rng(0)
        audits, escaped = 300, 0
        count = max(1, round(rate / cuts * self.POPULATION))
        hardest = np.arange(self.POPULATION - count * spread, self.POPULATION)
        for _ in range(audits):
            peeks = np.zeros(self.POPULATION, dtype=bool)
            peeks[rng.choice(hardest, count, replace=False)] = True
            drawn = rng.choice(self.POPULATION, cuts, replace=False)
            audited = self.HONEST[drawn]
            found = statistics.prefix(audited * peeks[drawn], QUIET, audited, self.POPULATION)
            gain = self.HONEST[peeks].sum() / self.POPULATION
            escaped += found.ok and found.bound_nats < gain
        assert escaped <= 0.05 * audits + 2 * (0.05 * audits) ** 0.5

    def test_the_price_is_that_of_the_hardest_positions(self):
        drawn = RNG.choice(self.HONEST, 8000, replace=False)
        unseen = statistics.unseen(drawn, 8000, self.POPULATION)
        most = np.log(0.05) / np.log(1 - 8000 / self.POPULATION)
        worst = self.HONEST[-round(most) :].sum() / self.POPULATION
        assert 0.9 * worst <= unseen < 1.3 * worst
        assert unseen > 3 * most / self.POPULATION * self.HONEST.mean()

    def test_more_cuts_cost_less_until_nothing_is_left_unseen(self):
        bounds = [
            statistics.unseen(self.HONEST, cuts, self.POPULATION)
            for cuts in (2000, 8000, 20_000, 39_000, self.POPULATION)
        ]
        assert bounds == sorted(bounds, reverse=True)
        assert bounds[-1] == 0.0
        assert statistics.unseen(self.HONEST, self.POPULATION, self.POPULATION, moved=1) > 0

    def test_how_many_are_enough(self):
        enough = statistics.unseen(self.HONEST, 10_000, self.POPULATION)
        assert 9_000 < statistics.cuts_for(self.HONEST, 1.01 * enough) < 11_000
        assert statistics.cuts_for(self.HONEST, 0.0) == self.POPULATION


@pytest.mark.parametrize("share", [1e-4, 1e-3, 0.02, 0.3, 1.0])
def test_the_tail_of_an_exponential_is_known(share):
    """Its largest share has the mean 1 - log(share)."""
    losses = RNG.exponential(1.0, 100_000)
    assert statistics.tail_mean(losses, share) == pytest.approx(1 - np.log(share), rel=0.05)


def test_poisson_limits():
    """Garwood's exact limits: 2.996, 4.744, 7.754, 16.962."""
    found = [statistics.poisson_upper(count) for count in (0, 1, 3, 10)]
    assert found == pytest.approx([2.996, 4.744, 7.754, 16.962], rel=0.01)


def test_small_moves_count_where_answers_do_not_jitter():
    before = np.zeros(5000)
    before[:200] = RNG.choice([-0.05, 0.05], 200)
    assert not statistics.causality(np.zeros(48), before, QUIET).ok
    assert statistics.causality(np.zeros(48), before, RNG.normal(0, 0.02, 5000)).ok
