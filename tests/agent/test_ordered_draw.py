"""Ordered draws: several categories, one after the other, and what a trial of one teaches."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from agent.learner import (
    EPSILON,
    FEATURES,
    MOST_WEIGHT,
    REWARD_SD,
    RISE,
    Numbers,
    Rule,
)
from agent.prior import Prior

PLAIN = (0.0,) * len(FEATURES)
NAMES = [f"c{i}" for i in range(10)]


# --- ordered draws ---

LOGITS = np.array([0.7, -0.4, 0.1, 1.2, 0.0])


def unequal(**options: Any) -> Prior:
    prior = Prior("abcde", **options)
    prior.learner.theta[:] = LOGITS
    return prior


def test_the_first_of_an_ordered_draw_is_the_draw_of_one() -> None:
    prior = unequal(seed=5)
    for n in range(60):
        drawn = prior.draw(3, "abce", trial=n)
        assert next(iter(drawn)) == prior.sample("abce", trial=n)
        assert len(drawn) == 3 and set(drawn) < set("abce")
        left = set("abce")
        for name, share in drawn.items():
            assert share == prior.probabilities(left)[name]
            left.discard(name)
    assert set(prior.draw(3, "bd", trial=0)) == set("bd"), "there are no more"


def test_ordered_draws_come_as_often_as_they_say() -> None:
    prior, counts = unequal(), Counter[tuple[str, ...]]()
    chances = {}
    for n in range(4000):
        drawn = prior.draw(2, trial=n)
        counts[tuple(drawn)] += 1
        chances[tuple(drawn)] = math.prod(drawn.values())
    assert sum(chances.values()) == pytest.approx(1, abs=0.01)
    for order, chance in chances.items():
        assert counts[order] / 4000 == pytest.approx(chance, abs=4 * math.sqrt(chance / 4000))


@pytest.mark.parametrize("order", [(3,), (3, 1), (0, 4, 2), (2, 0)])
@pytest.mark.parametrize("free", [(1, 1, 1, 1, 1), (1, 1, 1, 1, 0), (1, 0, 1, 1, 1)])
def test_the_gradient_is_that_of_the_log_probability(
    order: tuple[int, ...], free: tuple[int, ...]
) -> None:
    learner, drawn, mask = unequal().learner, np.array(order), np.array(free, bool)
    if not all(mask[drawn]):
        return
    _, gradient = learner.of_draw(drawn, mask)
    for k in range(5):
        sides = []
        for step in (1e-6, -1e-6):
            learner.theta[:] = LOGITS + step * (np.arange(5) == k)
            sides.append(np.log(learner.of_draw(drawn, mask)[0]))
        assert gradient[k] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6)


def test_the_step_of_an_ordered_draw_is_unbiased() -> None:
    """Over all draws of two, whichever a model takes of them: what the step adds to theta is the
    gradient of the expected advantage."""
    rule = Rule(step=1.0, decay=0.0, entropy=0.0, tune=0.0)
    taken = {frozenset(pair): pair[1] for pair in permutations("abcde", 2)}
    paid = {"a": 0.1, "b": -0.2, "c": 0.3, "d": 0.05, "e": 0.0}

    def chance(order: tuple[str, ...], theta: Numbers) -> float:
        prior = Prior("abcde", weights=PLAIN, rule=rule)
        prior.learner.theta[:] = theta
        numbers = np.array(["abcde".index(name) for name in order])
        return float(prior.learner.of_draw(numbers, np.ones(5, bool))[0])

    def expected(theta: Numbers) -> float:
        orders = permutations("abcde", 2)
        return sum(chance(o, theta) * paid[taken[frozenset(o)]] for o in orders) / REWARD_SD

    mean = np.zeros(5)
    for order in permutations("abcde", 2):
        prior = Prior("abcde", weights=PLAIN, rule=rule)
        prior.learner.theta[:] = LOGITS
        first = prior.probabilities()[order[0]]
        second = prior.probabilities(set("abcde") - {order[0]})[order[1]]
        drawn = {order[0]: first, order[1]: second}
        assert chance(order, LOGITS) == pytest.approx(first * second)
        took = taken[frozenset(order)]
        prior.update(took, paid[took], drawn=drawn)
        mean += first * second * (prior.learner.theta - LOGITS)
        tries = dict(zip("abcde", prior.learner.history[0], strict=True))
        assert [name for name, count in tries.items() if count] == [took], "only what was taken"
    for k in range(5):
        step = 1e-5 * (np.arange(5) == k)
        slope = (expected(LOGITS + step) - expected(LOGITS - step)) / 2e-5
        assert mean[k] == pytest.approx(slope, abs=1e-6)


def test_a_draw_of_one_teaches_what_a_single_draw_does() -> None:
    one, other = unequal(), unequal()
    one.update("c", 0.3, propensity=0.1, available="abc")
    other.update("c", 0.3, drawn={"c": 0.1}, available="abc")
    assert list(one.learner.theta) == pytest.approx(list(other.learner.theta))
    assert list(one.learner.weights) == pytest.approx(list(other.learner.weights))


def test_an_old_ordered_draw_weighs_by_its_probability_of_then() -> None:
    now = math.prod(unequal().draw(2, trial=0).values())
    moved = {}
    for share in (1.0, 0.8, 0.2, 0.1):
        prior = unequal(weights=PLAIN, rule=Rule(decay=0.0, entropy=0.0))
        order = prior.draw(2, trial=0)
        first, second = order
        prior.update(first, 0.4, drawn={first: order[first] * share, second: order[second]})
        moved[share] = np.abs(prior.learner.theta - LOGITS).sum()
    assert now < 1
    assert moved[0.8] == pytest.approx(moved[1.0] / 0.8)
    assert moved[0.2] == moved[0.1] == pytest.approx(MOST_WEIGHT * moved[1.0])


@pytest.mark.parametrize("drawn", [{"a": 0.2, "b": 0.3}, {"c": 0.2, "e": 0.3}, {"c": 0.0}])
def test_what_was_not_drawn_is_not_taught_by_a_draw(drawn: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        unequal().update("c", 0.3, drawn=drawn, available="abcd")


# --- brakes ---


@pytest.mark.parametrize("gain", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("loss", [-0.02, -0.1])
@pytest.mark.parametrize("before", [0, 1, 5, 15])
@pytest.mark.parametrize("logit", [-0.85, 0.0, 1.02])
def test_one_win_does_not_double_a_category_that_it_has_used_up(
    gain: float, loss: float, before: int, logit: float
) -> None:
    prior = Prior(NAMES)
    prior.learner.theta[0] = logit
    for n in range(before):
        prior.learner.spent = np.array(n / 100)
        prior.update(NAMES[1 + n % 9], loss, kept=False, rise=RISE)
    at_first = prior.probabilities()["c0"]
    prior.update("c0", gain, kept=True, rise=RISE)
    assert prior.probabilities()["c0"] < 2 * at_first
    for _ in range(3):
        prior.update("c0", loss, kept=False, rise=RISE)
    assert prior.probabilities()["c0"] <= at_first


def test_what_pays_again_and_again_still_prevails() -> None:
    prior = Prior(NAMES)
    for n in range(4):
        prior.update("c0", 0.3, kept=True, rise=RISE)
        prior.update(NAMES[1 + n], 0.0, kept=False, rise=RISE)
    assert prior.probabilities()["c0"] > 0.6


def test_what_is_said_to_have_nothing_left_is_drawn_less_until_the_champion_moves() -> None:
    prior = Prior(NAMES)
    prior.spare("c3")
    shares = prior.probabilities()
    assert EPSILON / 10 < shares["c3"] < 0.04 and shares["c0"] == pytest.approx(shares["c9"])
    prior.set_categories(NAMES[:3])
    prior.set_categories(NAMES)
    assert prior.probabilities() == pytest.approx(shares), "also after an absence"
    for name in NAMES:
        prior.spare(name)
    assert prior.probabilities() == pytest.approx(dict.fromkeys(NAMES, 0.1)), "not all of them"
    prior.set_categories(NAMES[:3])
    prior.spare_none()
    prior.set_categories(NAMES)
    assert prior.probabilities() == pytest.approx(dict.fromkeys(NAMES, 0.1))


def test_what_was_drawn_and_not_taken_does_not_rise_more_than_what_won() -> None:
    """The gradient is that of the whole draw, so that it raises them as well."""
    rng = np.random.default_rng(0)
    for places in (2, 3, 4):
        prior = Prior(NAMES[:4])
        for n in range(20):
            before, drawn = prior.probabilities(), prior.draw(places, trial=n)
            taken, gain = rng.choice([*drawn]), float(rng.choice([0.8, -0.1]))
            prior.update(taken, gain, drawn=drawn, kept=gain > 0, rise=RISE)
            after = prior.probabilities()
            assert all(after[name] <= RISE * before[name] + 1e-9 for name in drawn)
            assert math.isclose(sum(after.values()), 1)
