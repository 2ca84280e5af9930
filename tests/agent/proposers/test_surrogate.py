"""Draws of what constants may be worth: right where it was measured, open elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from agent.proposers.surrogate import Curve, sample

NOISE = 0.01


def draws(curves: list[Curve], seen: list[float], error: float, count: int = 200) -> np.ndarray:
    """[count, candidates of all curves]"""
    told = (np.array(seen, float), np.full(len(seen), error))
    dice = np.random.default_rng(0)
    return np.array([np.concatenate(sample(curves, *told, NOISE, dice)) for _ in range(count)])


def curve(*steps: tuple[float, float], ordered: bool = True) -> Curve:
    """Candidates 0.5, 0.6 and 1.0 of a champion at 0.5; each observed step from and to a place."""
    before, after = np.array(steps, float).reshape(-1, 2).T
    return Curve(0.5, np.array([0.5, 0.6, 1.0]), before, after, ordered)


def test_without_observations_nothing_is_known_but_the_champion() -> None:
    found = draws([curve()], [], 1.0)
    assert np.allclose(found[:, 0], 0)
    assert np.all(np.abs(found.mean(axis=0)) < found.std(axis=0).clip(0.001) / 3)
    assert found[:, 2].std() > found[:, 1].std() > 0, "farther away less is known"


@pytest.mark.parametrize(("error", "near"), [(0.0005, True), (1.0, False)])
def test_a_difference_counts_by_its_error(error: float, near: bool) -> None:
    found = draws([curve((0.5, 0.6))], [0.05], error)[:, 1]
    assert (abs(found.mean() - 0.05) < 0.003 and found.std() < 0.003) == near


def test_a_difference_of_two_earlier_points_says_what_the_champion_s_would() -> None:
    """From 0.6, an earlier champion, to 0.5: today 0.6 would lose as much."""
    assert abs(draws([curve((0.6, 0.5))], [0.05], 0.0005)[:, 1].mean() + 0.05) < 0.003


def test_of_constants_that_moved_together_the_sum_is_known() -> None:
    both = draws([curve((0.5, 0.6)), curve((0.5, 0.6))], [0.05], 0.0005)
    one, other = both[:, 1], both[:, 4]
    assert abs((one + other).mean() - 0.05) < 0.003
    assert (one + other).std() < 0.2 * one.std()


def test_words_are_independent_of_each_other() -> None:
    found = draws([curve((0.5, 0.6), ordered=False)], [0.05], 0.0005)
    assert abs(found[:, 1].mean() - 0.05) < 0.003
    apart = found[:, 2] - 0.5 * found[:, 1]  # half: the champion's own word is in both
    assert abs(np.corrcoef(found[:, 1], apart)[0, 1]) < 0.2
