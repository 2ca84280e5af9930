"""noise.py: what is learnt from repeated heats, and what one diverged training does to it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.judge import Noise
from agent.noise import Spread, learn_effect, learn_noise, spread

PRIOR = Noise(0.004, 4.0)


def trials(scale: float, dof: float, count: int, seed: int = 0) -> list[Spread]:
    """Trials of two to four heats, whose spreads differ as ``dof`` says."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 5, count)
    return [
        spread(list(scale * math.sqrt(dof / rng.chisquare(dof)) * rng.standard_normal(size)))
        for size in sizes
    ]


def test_nothing_repeated_leaves_the_prior() -> None:
    alone = learn_noise([], PRIOR)
    assert alone.scale == pytest.approx(PRIOR.scale)
    assert learn_noise([spread([0.01]), spread([])], PRIOR) == alone


def test_a_new_campaign_believes_its_preset_only_so_far() -> None:
    assert learn_noise([], PRIOR).dof < 2 < learn_noise(trials(0.004, 4, 60), PRIOR).dof


def test_a_null_trials_mean_is_known() -> None:
    assert spread([0.01, 0.02], mean=0.0) == Spread(pytest.approx(0.0005), 2)
    assert spread([0.01, 0.02]) == Spread(pytest.approx(0.00005), 1)


@pytest.mark.parametrize("scale", [0.001, 0.004, 0.02])
def test_the_scale_is_found(scale: float) -> None:
    few = [learn_noise(trials(scale, 4, 5, seed), PRIOR).scale for seed in range(20)]
    many = [learn_noise(trials(scale, 4, 100, seed), PRIOR).scale for seed in range(10)]
    assert np.median(few) == pytest.approx(scale, rel=0.5)
    assert np.median(many) == pytest.approx(scale, rel=0.15)


def test_it_is_found_whether_edits_are_alike() -> None:
    alike = [learn_noise(trials(0.004, 100, 200, seed), PRIOR).dof for seed in range(5)]
    unlike = [learn_noise(trials(0.004, 2, 200, seed), PRIOR).dof for seed in range(5)]
    assert min(alike) > 8 > 4 > max(unlike)


def test_one_diverged_training_does_not_lift_the_noise_for_good() -> None:
    usual = trials(0.004, 10, 10)
    before = learn_noise(usual, PRIOR)
    for wild in ([2.0, 0.001], [0.0, 0.0, -500.0]):
        after = learn_noise([*usual, spread(wild)], PRIOR)
        assert after.scale < 1.2 * before.scale and after.dof > 0.9 * before.dof


def test_how_large_gains_are_is_learnt_from_those_that_were_better() -> None:
    rng = np.random.default_rng(0)
    for effect in (0.003, 0.01, 0.03):
        gains = effect * rng.standard_normal(200)
        seen = [(float(gain + 0.003 * rng.standard_normal()), 0.003) for gain in gains]
        assert learn_effect(seen, 0.01) == pytest.approx(effect, rel=0.3)
    assert learn_effect([], 0.01) == 0.01
    assert learn_effect([(-5.0, 0.003)] * 50, 0.01) == 0.01
    nothing = [(float(0.003 * rng.standard_normal()), 0.003) for _ in range(200)]
    assert learn_effect(nothing, 0.01) < 0.003


def test_one_huge_gain_does_not_make_all_small_ones_believed() -> None:
    small = [(0.002, 0.002)] * 10
    assert learn_effect([*small, (3.0, 0.002)], 0.005) < 2 * learn_effect(small, 0.005)
