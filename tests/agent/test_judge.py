"""judge.py: how often it keeps luck, how often it keeps gains, and what that costs in trainings."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.judge import Estimate, Judge, Rule, pooled_sigma, reward, t_quantile

SIGMA = 0.004
SIMULATIONS = 2000


@lru_cache
def simulate(
    gain: float,
    rule: Rule = "confirm",
    *,
    champions: int = 1,
    dof: float | None = None,
    lines_delta: int = 0,
    trials_since_keep: int = 0,
) -> tuple[float, float]:
    """Share of keeps and mean number of trainings, for a true gain in sigmas."""
    rng = np.random.default_rng(0)
    keeps = trainings = 0
    for _ in range(SIMULATIONS):
        estimate = math.sqrt(rng.chisquare(dof) / dof) if dof else 1.0
        judge = Judge(rule, SIGMA * estimate, dof)
        champion = list(1.3 + SIGMA * rng.standard_normal(champions))
        candidate: list[float] = []
        while True:
            answer = judge.verdict(
                champion, candidate, lines_delta=lines_delta, trials_since_keep=trials_since_keep
            )
            if answer in ("keep", "revert"):
                break
            trainings += 1
            if answer == "champion":
                champion.append(1.3 + SIGMA * rng.standard_normal())
            else:
                candidate.append(1.3 + SIGMA * (rng.standard_normal() - gain))
            assert trainings <= 14 * SIMULATIONS
        keeps += answer == "keep"
    return keeps / SIMULATIONS, trainings / SIMULATIONS


# --- rates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("champions", [0, 1, 4, 12])
def test_luck_is_rarely_kept(champions: int) -> None:
    assert 0.02 < simulate(0, champions=champions)[0] <= 0.065
    assert simulate(-1, champions=champions)[0] <= 0.01
    assert simulate(0, "strict", champions=champions)[0] <= 0.015
    assert simulate(-1, "strict", champions=champions)[0] <= 0.002


@pytest.mark.parametrize("dof", [4, 10])
def test_luck_is_rarely_kept_when_sigma_is_itself_estimated(dof: float) -> None:
    assert simulate(0, dof=dof)[0] <= 0.065
    assert simulate(0, "strict", dof=dof)[0] <= 0.02


@pytest.mark.parametrize(("gain", "power"), [(1, 0.3), (2, 0.75), (3, 0.95), (5, 0.995)])
def test_gains_are_kept(gain: float, power: float) -> None:
    assert simulate(gain)[0] > power
    assert simulate(gain, champions=4)[0] > power


def test_strict_keeps_clear_gains() -> None:
    assert simulate(2, "strict")[0] > 0.7
    assert simulate(3, "strict")[0] > 0.95


def test_what_is_clear_is_settled_early() -> None:
    assert simulate(-5)[1] < 1.1
    assert simulate(-2, champions=4)[1] < 1.3
    assert simulate(0, champions=4)[1] < 3
    assert simulate(5)[1] < 2.5 < simulate(1)[1] < 5.5


def test_keeping_gets_stricter_when_keeps_dry_up() -> None:
    early, late = simulate(0, champions=4)[0], simulate(0, champions=4, trials_since_keep=80)[0]
    assert late < 0.015 < early


def test_a_tie_is_kept_only_if_it_makes_the_file_shorter() -> None:
    assert simulate(0, lines_delta=-5)[0] > 0.3
    assert simulate(0, lines_delta=5)[0] == simulate(0)[0] < 0.065
    assert simulate(-1, lines_delta=-5)[0] < 0.1
    assert simulate(-2, lines_delta=-5)[0] < 0.01


# --- the order of trainings -------------------------------------------------------------------


def verdict(champion: list[float], candidate: list[float], rule: Rule = "confirm") -> str:
    return Judge(rule, 1.0).verdict(champion, candidate)


def test_what_is_missing_is_asked_for() -> None:
    for rule in ("confirm", "strict", "greedy"):
        assert verdict([], [], rule) == "champion"  # type: ignore[arg-type]
        assert verdict([], [5.0], rule) == "champion"  # type: ignore[arg-type]
        assert verdict([5.0], [], rule) == "candidate"  # type: ignore[arg-type]


def test_candidate_and_champion_take_turns_up_to_four_fresh_seeds() -> None:
    """A gain of 0.9 sigma stays undecided to the last look."""
    champion, candidate, asked = [10.0], [9.1], ""
    while (answer := verdict(champion, candidate)) not in ("keep", "revert"):
        asked += answer[1]
        (champion if answer == "champion" else candidate).append(
            10.0 if answer == "champion" else 9.1
        )
    assert (asked, answer) == ("ahahaha", "revert")


def test_champion_scores_of_earlier_trials_save_trainings() -> None:
    assert verdict([10.0] * 6, [9.1, 9.1]) == "candidate"
    assert verdict([10.0] * 6, [9.5] * 5) == "revert"


def test_the_screening_score_never_enters_the_mean() -> None:
    champion = [10.0, 10.0]
    assert verdict(champion, [0.0, 10.5, 10.5]) == verdict(champion, [9.9, 10.5, 10.5]) == "revert"
    lucky = Judge("confirm", 1.0).gain_interval(champion, [0.0, 9.0, 9.0])
    assert lucky.mean == 1.0


def test_screening_turns_down_what_is_worse() -> None:
    assert verdict([10.0], [10.2]) == "candidate"
    assert verdict([10.0], [10.5]) == "revert"
    assert verdict([10.0], [4.0]) == "candidate", "one training is never enough to keep"


@pytest.mark.parametrize("candidate", [[9.0, 2.0], [9.0, 2.0, 2.0]])
def test_a_decisive_win_stops_early(candidate: list[float]) -> None:
    assert verdict([10.0], candidate) == "keep"


def test_greedy_compares_one_with_one() -> None:
    assert verdict([10.0], [9.999], "greedy") == "keep"
    assert verdict([10.0], [10.0], "greedy") == "revert"
    assert verdict([10.0, 8.0], [9.9, 12.0], "greedy") == "keep"


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_must_be_finite(bad: float) -> None:
    for champion, candidate in (([bad], [1.0]), ([1.0], [1.0, bad]), ([1.0, bad], [])):
        for rule in ("confirm", "strict", "greedy"):
            with pytest.raises(ValueError, match="finite"):
                verdict(champion, candidate, rule)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        pooled_sigma([[1.0, bad]], 0.1, 4)


@pytest.mark.parametrize(
    ("rule", "sigma", "dof"),
    [("lucky", 1.0, None), ("confirm", 0.0, None), ("confirm", math.nan, None), ("strict", 1.0, 0)],
)
def test_a_judge_needs_a_rule_and_a_noise(rule: Rule, sigma: float, dof: float | None) -> None:
    with pytest.raises(ValueError):
        Judge(rule, sigma, dof)


@given(
    st.lists(st.floats(-100, 100), max_size=8),
    st.lists(st.floats(-100, 100), max_size=8),
    st.sampled_from(["confirm", "strict", "greedy"]),
    st.none() | st.floats(1, 1000),
    st.integers(-50, 50),
)
def test_every_state_has_an_answer(
    champion: list[float], candidate: list[float], rule: Rule, dof: float | None, lines: int
) -> None:
    answer = Judge(rule, 0.5, dof).verdict(champion, candidate, lines_delta=lines)
    assert answer in ("keep", "revert", "candidate", "champion")
    if len(champion) >= 6 and len(candidate) >= 7:
        assert answer in ("keep", "revert")


# --- noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "dof", "value"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 4, 2.776445),
        (0.95, 10, 1.812461),
        (0.9995, 3, 12.923979),
        (0.995, 30, 2.749996),
        (0.025, 4, -2.776445),
        (0.975, 4.5, 2.658651),
        (0.975, 1e6, 1.959966),
    ],
)
def test_t_quantiles_agree_with_tables(p: float, dof: float, value: float) -> None:
    assert t_quantile(p, dof) == pytest.approx(value, rel=2e-4)


def test_known_sigma_takes_the_normal_quantile() -> None:
    assert t_quantile(0.975) == NormalDist().inv_cdf(0.975)


def test_pooled_sigma() -> None:
    noise = pooled_sigma([[1.0, 1.2], [5.0], [], [2.0, 2.1, 2.2]], prior_sigma=0.1, prior_dof=2)
    assert noise.dof == 5
    assert noise.sigma == pytest.approx(math.sqrt((2 * 0.01 + 0.02 + 0.02) / 5))
    assert pooled_sigma([], 0.1, 4).sigma == pytest.approx(0.1)


def test_pooled_sigma_leaves_its_prior_behind() -> None:
    groups = np.random.default_rng(0).normal(3.0, 0.5, size=(40, 5)).tolist()
    assert pooled_sigma(groups, 0.004, 4).sigma == pytest.approx(0.5, rel=0.1)


# --- numbers and words ------------------------------------------------------------------------


def test_intervals() -> None:
    judge = Judge("confirm", 0.01)
    gain = judge.gain_interval([1.0, 1.02], [0.9, 0.98, 0.96])
    assert gain.mean == pytest.approx(0.04) and gain.half == pytest.approx(0.0196, abs=1e-4)
    assert judge.gain_interval([1.0], [0.9]).half == pytest.approx(0.0277, abs=1e-4)
    score = judge.score_interval([0.9, 0.98, 0.96])
    assert score == Estimate(pytest.approx(0.97), pytest.approx(0.01386, abs=1e-4))  # type: ignore[arg-type]
    assert judge.score_interval([0.9]).mean == 0.9
    assert Judge("confirm", 0.01, 4).score_interval([0.9]).half > 0.027
    assert Judge("greedy", 0.01).gain_interval([1.0, 2.0], [0.9, 3.0]).mean == pytest.approx(0.1)


def test_rewards() -> None:
    assert reward(None, None, 0.004, status="crashed") == -0.2
    assert reward(0.02, 0.001, 0.004, status="invalid") == -0.2
    assert (
        reward(None, None, 0.004, status="oom") == reward(None, None, 1, status="overtime") == -0.2
    )
    for status in ("killed", "abandoned", ""):
        assert reward(None, None, 0.004, status=status) is None
    assert reward(0.02, 0.0, 0.004) == pytest.approx(1.0)
    assert reward(0.01, 0.0, 0.004) == pytest.approx(0.5)
    assert reward(1.0, 0.001, 0.004) == 1.0
    assert reward(-1.0, 0.001, 0.004) == -0.2
    assert reward(0.0, 0.01, 0.004) == 0.0


def test_the_reward_shrinks_with_the_uncertainty() -> None:
    values = [reward(0.01, half, 0.004) or 0.0 for half in (0.0, 0.004, 0.01, 0.1)]
    assert values == sorted(values, reverse=True) and values[-1] < 0.02
    # Posterior mean of N(0, (2 sigma)^2) given a reading with standard error 2 sigma: one half.
    assert reward(0.01, 1.959964 * 0.008, 0.004) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("verdict", "champion", "candidate", "words"),
    [
        ("revert", [1.0], [1.032], "worse than the champion by 3.2 sigma, reverted"),
        ("revert", [1.0], [1.003], "no better than the champion, reverted"),
        (
            "revert",
            [1.0, 1.0],
            [0.98, 1.02],
            "beat the champion once, lost on fresh seeds, reverted",
        ),
        (
            "revert",
            [1.0, 1.0],
            [1.001, 1.02, 1.02],
            "worse than the champion by 2.0 sigma on 2 fresh seeds, reverted",
        ),
        (
            "revert",
            [1.0],
            [0.98, 0.99, 0.99],
            "better by only 1.0 sigma on 2 fresh seeds, which can be luck, reverted",
        ),
        (
            "keep",
            [1.0, 1.0, 1.0],
            [0.9, 0.95, 0.95, 0.95],
            "kept: better on 3 fresh seeds by 0.0500 ± 0.0160",
        ),
        (
            "keep",
            [1.0] * 4,
            [1.0] + [0.987] * 4,
            "kept: better on 4 fresh seeds by 0.0130 ± 0.0139",
        ),
        (
            "keep",
            [1.0] * 4,
            [1.0] + [0.999] * 4,
            "kept: shorter, and level with the champion on 4 fresh seeds (+0.0010 ± 0.0139)",
        ),
    ],
)
def test_words(verdict: str, champion: list[float], candidate: list[float], words: str) -> None:
    assert Judge("confirm", 0.01).words(verdict, champion, candidate) == words  # type: ignore[arg-type]


def test_words_of_what_failed_and_of_greedy() -> None:
    judge = Judge("greedy", 0.01)
    assert judge.words("revert", [], [], status="crashed") == "crashed, reverted"
    assert (
        judge.words("revert", [], [], status="invalid", reason="causality")
        == "invalid (causality), reverted"
    )
    assert judge.words("revert", [], [], status="oom") == "ran out of memory, reverted"
    assert judge.words("keep", [1.0], [0.99]) == "kept: better on one training by 0.0100 ± 0.0277"
