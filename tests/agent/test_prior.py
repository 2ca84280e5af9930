"""prior.py: it learns what pays, forgets what no longer does, and sees nothing in noise."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.prior import EPSILON, Prior

NAMES = [f"c{i}" for i in range(10)]


def simulate(
    prior: Prior, trials: int, reward: Callable[[str], float]
) -> list[tuple[str, float, float]]:
    """Category, reward and propensity of each trial."""
    log = []
    for _ in range(trials):
        propensities = prior.probabilities()
        category = prior.sample()
        value = reward(category)
        prior.update(category, value)
        log.append((category, value, propensities[category]))
    return log


def paying(name: str, seed: int, amount: float = 0.5, noise: float = 0.1) -> Callable[[str], float]:
    generator = random.Random(seed)
    return lambda c: (amount if c == name else -0.05) + generator.gauss(0, noise)


def test_nothing_learnt_is_uniform() -> None:
    assert Prior(NAMES).probabilities() == pytest.approx(dict.fromkeys(NAMES, 0.1))
    assert list(Prior(NAMES).probabilities()) == NAMES


@pytest.mark.parametrize(
    "noise",
    [
        lambda g: g.gauss(0, 0.15),
        lambda g: g.uniform(-0.2, 1),
        lambda g: 1.0 if g.random() < 0.1 else 0.0,
        lambda g: 0.3,
    ],
)
def test_equal_categories_stay_near_equal(noise: Callable[[random.Random], float]) -> None:
    tops = []
    for seed in range(10):
        prior, generator = Prior(NAMES, seed=seed), random.Random(seed)
        simulate(prior, 500, lambda c, g=generator: noise(g))  # type: ignore[misc]
        tops.append(max(prior.probabilities().values()))
    assert max(tops) < 0.35 and sum(tops) / len(tops) < 0.25


def test_it_moves_within_ten_trials_and_prevails_within_sixty() -> None:
    early, late = [], []
    for seed in range(20):
        prior, reward = Prior(NAMES, seed=seed), paying("c3", seed)
        simulate(prior, 10, reward)
        early.append(prior.probabilities()["c3"])
        simulate(prior, 50, reward)
        late.append(prior.probabilities()["c3"])
    assert sum(early) / 20 > 0.15
    assert min(late) > 0.5


def test_it_follows_when_what_pays_changes() -> None:
    for seed in range(10):
        prior = Prior(NAMES, seed=seed)
        simulate(prior, 100, paying("c3", seed))
        simulate(prior, 150, paying("c7", seed))
        after = prior.probabilities()
        assert after["c7"] > 0.4 > 0.15 > after["c3"]


def test_it_beats_uniform_draws_within_a_night() -> None:
    won = []
    for seed in range(20):
        log = simulate(Prior(NAMES, seed=seed), 60, paying("c3", seed))
        uniform, generator = paying("c3", seed), random.Random(seed)
        won.append(
            sum(value for _, value, _ in log)
            - sum(uniform(generator.choice(NAMES)) for _ in range(60))
        )
    assert sum(w > 0 for w in won) >= 19


def test_one_reward_moves_its_category_the_right_way() -> None:
    up, down = Prior(NAMES), Prior(NAMES)
    up.update("c1", 0.5)
    down.update("c1", -0.2)
    assert up.probabilities()["c1"] > 0.1 > down.probabilities()["c1"]


def test_no_category_is_given_up_and_none_certain() -> None:
    prior = Prior(NAMES)
    for _ in range(300):
        prior.update("c0", 1.0)
        prior.update("c1", -0.2)
    probabilities = prior.probabilities()
    assert min(probabilities.values()) >= EPSILON / 10
    assert max(probabilities.values()) <= 1 - EPSILON * 0.9


def test_draws_depend_on_seed_and_number_alone() -> None:
    draws = [Prior(NAMES, seed=3).sample(trial=n) for n in range(50)]
    prior = Prior(NAMES, seed=3)
    assert [prior.sample() for _ in range(50)] == draws
    assert [prior.sample(trial=n) for n in reversed(range(50))] == draws[::-1]
    assert [Prior(NAMES, seed=4).sample(trial=n) for n in range(50)] != draws
    # The same on every machine and Python version.
    assert draws[:6] == ["c5", "c2", "c8", "c5", "c4", "c2"]


def test_draws_follow_the_probabilities() -> None:
    prior = Prior(["a", "b"])
    for _ in range(8):
        prior.update("a", 1.0)
        prior.update("b", 0.0)
    share = sum(prior.sample(trial=n) == "a" for n in range(4000)) / 4000
    assert share == pytest.approx(prior.probabilities()["a"], abs=0.03)
    assert share > 0.7


def test_only_what_is_available_is_drawn() -> None:
    prior = Prior(NAMES)
    prior.update("c2", 1.0)
    assert {prior.sample(["c2", "c4"], trial=n) for n in range(200)} == {"c2", "c4"}
    probabilities = prior.probabilities(["c2", "c4"])
    assert sum(probabilities.values()) == pytest.approx(1) and probabilities["c0"] == 0
    assert probabilities["c2"] > probabilities["c4"]
    assert prior.sample(["c4"]) == "c4"


def test_replayed_updates_rebuild_the_state() -> None:
    prior = Prior(NAMES, seed=1)
    log = simulate(prior, 80, paying("c5", 1))
    again, explicit = Prior(NAMES, seed=1), Prior(NAMES, seed=1)
    for category, reward, propensity in log:
        again.update(category, reward)
        explicit.update(category, reward, propensity=propensity, available=NAMES)
    assert again.probabilities() == prior.probabilities() == explicit.probabilities()


def test_a_rare_draw_weighs_more_in_the_baseline() -> None:
    rare, common = Prior(["a", "b", "c"]), Prior(["a", "b", "c"])
    rare.update("a", 0.5, propensity=0.1)
    common.update("a", 0.5, propensity=0.9)
    assert rare.probabilities()["a"] < common.probabilities()["a"]


def test_categories_come_and_go() -> None:
    prior = Prior(["a", "b", "c"])
    for _ in range(10):
        prior.update("a", 1.0)
        prior.update("b", 0.0)
    before = prior.probabilities()
    prior.set_categories(["d", "a", "b"])
    after = prior.probabilities()
    assert list(after) == ["d", "a", "b"]
    assert after["a"] / after["b"] == pytest.approx(before["a"] / before["b"], rel=0.2)
    assert after["b"] < after["d"] < after["a"]
    with pytest.raises(ValueError):
        prior.update("c", 1.0)


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_bad_categories(names: list[str]) -> None:
    with pytest.raises(ValueError):
        Prior(names)


@pytest.mark.parametrize(
    ("category", "reward", "propensity"),
    [("x", 0.1, None), ("c1", float("nan"), None), ("c1", float("inf"), None), ("c1", 0.1, 0.0)],
)
def test_bad_updates_change_nothing(category: str, reward: float, propensity: float | None) -> None:
    prior = Prior(NAMES)
    with pytest.raises(ValueError):
        prior.update(category, reward, propensity=propensity)
    assert prior.probabilities() == Prior(NAMES).probabilities()


def test_bad_availability() -> None:
    for available in ([], ["x"]):
        with pytest.raises(ValueError):
            Prior(NAMES).sample(available)
    with pytest.raises(ValueError):
        Prior(NAMES).update("c1", 0.1, available=["c2"])


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.floats(allow_nan=False, allow_infinity=False)))
)
def test_any_finite_reward_leaves_a_distribution(log: list[tuple[str, float]]) -> None:
    prior = Prior(NAMES)
    for category, reward in log:
        prior.update(category, reward)
    probabilities = prior.probabilities()
    assert sum(probabilities.values()) == pytest.approx(1)
    assert all(EPSILON / 10 <= p <= 1 for p in probabilities.values())


def test_it_recovers_from_an_absurd_reward() -> None:
    prior = Prior(NAMES)
    prior.update("c1", 1e308)
    simulate(prior, 100, paying("c3", 0))
    assert prior.probabilities()["c3"] > 0.4
