"""prior.py: it learns what pays, forgets what no longer does, and sees nothing in noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.learner import (
    EPSILON,
    FEATURES,
    MOST,
    MOST_WEIGHT,
    WEIGHTS,
    Learner,
    Numbers,
    Rule,
    score,
)
from agent.prior import Prior

PLAIN = (0.0,) * len(FEATURES)
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


NOISES = [
    lambda g, n: g.normal(0, 0.15, n),
    lambda g, n: g.uniform(-0.2, 1, n),
    lambda g, n: (g.random(n) < 0.1) * 1.0,
    lambda g, n: np.full(n, 0.3),
]


def many(
    paid: npt.ArrayLike, noise: Callable[[np.random.Generator, int], Numbers], trials: int = 300
) -> tuple[Numbers, Numbers]:
    """Of 500 campaigns: mean reward, and the policy at the end."""
    generator, learner, total = np.random.default_rng(0), Learner(10, (500,)), np.zeros(500)
    for trial in range(trials):
        learner.spent = np.full(500, trial / trials)
        shares = learner.policy()[1]
        chosen = (shares.cumsum(-1) < generator.random((500, 1))).sum(-1)
        reward = np.clip(np.array(paid)[chosen] + noise(generator, 500), -0.2, 1)
        learner.update(chosen, reward)
        total += reward
    return total / trials, learner.policy()[1]


@pytest.mark.parametrize("noise", NOISES)
def test_equal_categories_never_collapse(
    noise: Callable[[np.random.Generator, int], Numbers],
) -> None:
    _, policy = many([0.0] * 10, noise)
    assert (policy.max(-1) > 0.9).mean() < 0.01
    assert np.median(policy.max(-1)) < 0.5


@pytest.mark.parametrize("noise", NOISES[:3])
def test_it_is_never_clearly_under_uniform(
    noise: Callable[[np.random.Generator, int], Numbers],
) -> None:
    paid = np.linspace(-0.1, 0.2, 10)
    own, _ = many(paid, noise, 50)
    generator = np.random.default_rng(1)
    drawn = paid[generator.integers(10, size=(50, 500))]
    even = np.clip(drawn + noise(generator, drawn.size).reshape(drawn.shape), -0.2, 1).mean(0)
    error = np.sqrt((own.var() + even.var()) / 500)
    assert own.mean() > even.mean() - 2 * error


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


def learner(weights: Sequence[float], seed: int = 0) -> Learner:
    """One that has learnt something."""
    generator, found = np.random.default_rng(seed), Learner(4, (), weights)
    for _ in range(12):
        kept = generator.random() < 0.3
        found.update(generator.integers(4), generator.normal(0, 0.3), kept=kept)
    return found


@pytest.mark.parametrize("weights", [WEIGHTS, tuple(0.3 * i - 1 for i in range(len(FEATURES)))])
@pytest.mark.parametrize("mask", [[True] * 4, [True, False, True, True]])
@pytest.mark.parametrize("chosen", [0, 2])
@pytest.mark.parametrize("ahead", [0.0, 9.0])
def test_the_score_is_the_gradient_of_the_log_of_the_mixture(
    weights: Sequence[float], mask: list[bool], chosen: int, ahead: float
) -> None:
    """By central differences, of theta and of the weights; also where one of them is cut."""
    found, available, small = learner(weights), np.array(mask), 1e-6
    found.theta[0] += ahead
    assert (found.policy(available)[0].max() == MOST) == bool(ahead)
    pi, q = found.policy(available)
    own = score(pi, np.arange(4) == chosen) / q[chosen]
    for values, gradient in ((found.theta, own), (found.weights, own @ found.features())):
        for k in range(len(values)):
            logs = []
            for step in (small, -small):
                values[k] += step
                logs.append(np.log(found.policy(available)[1][chosen]))
                values[k] -= step
            assert (logs[0] - logs[1]) / (2 * small) == pytest.approx(gradient[k], abs=1e-6)


@pytest.mark.parametrize(
    ("propensity", "most"), [(None, False), (0.2, False), (0.9, False), (0.001, True)]
)
def test_a_step_is_what_the_docstring_says(propensity: float | None, most: bool) -> None:
    """Written out again with loops, for a category drawn from three of four."""
    rule = Rule(step=0.5, decay=0.05, entropy=0.1)
    prior, before = Prior("abcd", rule=rule), Prior("abcd", rule=rule)
    for one in (prior, before):
        for category, reward in (("a", 0.3), ("b", -0.1), ("c", 0.1), ("d", 0.2)):
            one.update(category, reward)
    theta, b = before.learner.theta, float(before.learner.baseline)
    seen, weights = before.learner.features(), before.learner.weights
    raw = [math.exp(theta[k] + sum(seen[k] * weights)) for k in range(4)]
    ascent = 0.0
    spread = math.sqrt(before.learner.variance)
    prior.update("c", 0.25, propensity=propensity, available=["a", "c", "d"])
    free = [0, 2, 3]
    pi = {k: raw[k] / (raw[0] + raw[2] + raw[3]) for k in free}
    mixed = (1 - EPSILON) * pi[2] + EPSILON / 3
    weight = MOST_WEIGHT / mixed if most else 1 / (propensity or mixed)
    entropy = -sum(p * math.log(p) for p in pi.values())
    for k in free:
        gradient = (1 - EPSILON) * pi[2] * ((k == 2) - pi[k])
        step = (0.25 - b) / spread * gradient * weight
        ascent += rule.tune * step * seen[k]
        step += 0.1 * -pi[k] * (math.log(pi[k]) + entropy)
        assert prior.learner.theta[k] == pytest.approx(0.95 * theta[k] + 0.5 * step)
    assert prior.learner.theta[1] == theta[1]  # not even forgotten
    moved = weights + ascent
    moved -= 0.05 * rule.tune * (moved - before.learner.first_weights)
    assert list(prior.learner.weights) == pytest.approx(list(moved))


def test_an_old_reading_does_not_climb_by_itself() -> None:
    """What the rule before did: 0.19, then 0.72 after nine trials elsewhere."""

    def after(*rewards: tuple[str, float]) -> float:
        prior = Prior(NAMES)
        for category, reward in [*((name, -0.1) for name in NAMES[:9]), ("c9", 1.0), *rewards]:
            prior.update(category, reward)
        return prior.probabilities()["c9"]

    at_first, others = after(), [(name, -0.1) for name in NAMES[:9]]
    assert at_first > 0.15
    assert max(after(*others[:n]) for n in range(10)) < at_first + 0.02
    assert at_first > after(("c9", -0.2)) > after(("c9", -0.2), ("c9", -0.2))


def test_what_is_not_available_learns_nothing() -> None:
    prior = Prior("abcd", weights=PLAIN)
    for category, reward in (("a", 0.5), ("b", -0.2), ("c", 0.1)):
        prior.update(category, reward)
    before = prior.probabilities()
    for _ in range(5):
        prior.update("c", 0.8, available=["c", "d"])
    after = prior.probabilities()
    assert after["c"] > before["c"]
    assert after["a"] / after["b"] == pytest.approx(before["a"] / before["b"], rel=0.1)
    assert list(prior.learner.theta[:2]) != [0, 0]


def test_many_campaigns_at_once_are_what_each_is_alone() -> None:
    generator, weights = np.random.default_rng(0), np.linspace(-1, 1, len(FEATURES))
    alone, at_once = [Prior("abc", weights=weights) for _ in range(3)], Learner(3, (3,), weights)
    for trial in range(30):
        chosen, reward = generator.integers(3, size=3), generator.normal(0, 0.3, 3)
        kept, failed = generator.random(3) < 0.3, generator.random(3) < 0.3
        at_once.spent = np.full(3, trial / 30)
        for one, c, r, k, f in zip(alone, chosen, reward, kept, failed, strict=True):
            one.learner.spent = np.array(trial / 30)
            one.update("abc"[c], float(r), kept=bool(k), failed=bool(f))
        at_once.update(chosen, reward, kept=kept, failed=failed)
    for one, shares in zip(alone, at_once.policy()[1], strict=True):
        assert list(one.probabilities().values()) == pytest.approx(list(shares))


def test_what_is_seen_of_a_category() -> None:
    prior = Prior("abc")
    prior.update("a", 0.4, kept=True)
    prior.update("b", -0.2, failed=True)
    prior.update("b", None, failed=True)
    prior.update("a", 0.2, kept=False)
    prior.learner.spent = np.array(0.5)
    seen = dict(zip(FEATURES, prior.learner.features().T, strict=True))
    assert list(seen["untried"]) == pytest.approx([1 / 3**0.5, 1 / 3**0.5, 1])
    assert list(seen["share of failures"]) == pytest.approx([-0.16, 0.24, 0])
    assert list(seen["last success is recent"]) == pytest.approx([0.9**3, 0, 0])
    gain, last, loss = (seen[n].tolist() for n in ("mean gain", "last gains", "gain of losses"))
    assert gain[0] > 0 > gain[1] and gain[2] == 0
    assert last[0] == pytest.approx(gain[0]) and loss[0] > loss[1] == loss[2] == 0
    assert seen["evidence"][0] == pytest.approx(gain[0] * (3 / 2) * 2**0.5 / 2)
    assert list(seen["champion moved since"]) == [0, 0, 0]
    prior.update("c", 0.3, kept=True)
    moved = FEATURES.index("champion moved since")
    assert list(prior.learner.features()[:, moved]) == [1, 1, 0]
    assert list(seen["untried x share spent"]) == pytest.approx(list(seen["untried"] / 2))


def test_a_rejected_one_is_only_remembered() -> None:
    prior = Prior("ab", weights=PLAIN)
    prior.update("a", None, failed=True)
    assert prior.probabilities() == {"a": 0.5, "b": 0.5}
    weighed = Prior("ab", weights=[-1.0 if "failures" in name else 0.0 for name in FEATURES])
    weighed.update("a", None, failed=True)
    assert weighed.probabilities()["a"] < 0.5


def test_a_category_keeps_what_it_learnt_under_another_name_and_after_an_absence() -> None:
    prior = Prior({"a": "about a", "b": "about b", "c": ""})
    prior.update("a", 1.0)
    before = prior.probabilities()
    prior.set_categories({"b": "about b", "first": "about a", "c": ""})
    expected = {"b": before["b"], "first": before["a"], "c": before["c"]}
    assert prior.probabilities() == pytest.approx(expected, abs=1e-12)
    prior.set_categories({"b": "about b"})
    prior.set_categories({"first": "about a", "b": "about b", "c": ""})
    assert prior.probabilities() == pytest.approx(expected, abs=1e-12)
    prior.set_categories({"first": "about a", "twin": "about a", "b": "about b", "new": ""})
    assert prior.probabilities()["twin"] == pytest.approx(prior.probabilities()["new"])


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
