"""judge.py: how often it keeps luck, how often it keeps gains, and what that costs in heats."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.judge import (
    FALSE_KEEPS,
    FALSE_SHARE,
    MAX_HEATS,
    Judge,
    Noise,
    Rule,
    most_false_keeps,
    reward,
    shrunk,
    trial_level,
)

SCALE = 0.004
SIMULATIONS = 4000


def heats(
    judge: Judge, gain: float, spread: float, rng: np.random.Generator, **how: float
) -> tuple:  # type: ignore[type-arg]
    """One trial: its verdict and its differences; gain and spread in scales of the noise."""
    differences: list[float] = []
    while True:
        answer = judge.verdict(differences, **how)  # type: ignore[arg-type]
        if answer != "heat":
            return answer, differences
        assert len(differences) < MAX_HEATS[judge.rule]
        differences.append(SCALE * (gain + spread * rng.standard_normal()))


@lru_cache
def simulate(
    gain: float,
    rule: Rule = "confirm",
    *,
    dof: float = 4.0,
    mixed: bool = True,
    wrong_by: float = 1.0,
    size_delta: int = 0,
    level: float | None = None,
    wild: float = 0.0,
) -> tuple[float, float]:
    """Share of keeps and mean number of heats, for a true gain in scales of the noise.

    Each trial has a spread of its own, as ``dof`` says; ``wrong_by`` is the judge's scale over the
    true one, ``wild`` how often a difference is off by 500 scales in either direction.
    """
    rng = np.random.default_rng(0)
    judge = Judge(rule, Noise(SCALE * wrong_by, dof), SCALE)
    keeps = trained = 0
    for _ in range(SIMULATIONS):
        spread = math.sqrt(dof / rng.chisquare(dof)) if mixed else 1.0
        differences: list[float] = []
        while (answer := judge.verdict(differences, size_delta=size_delta, level=level)) == "heat":
            noise = rng.choice([-500.0, 500.0]) if rng.random() < wild else rng.standard_normal()
            differences.append(SCALE * (gain + spread * noise))
            assert len(differences) <= MAX_HEATS[rule]
        keeps += answer == "keep"
        trained += len(differences)
    return keeps / SIMULATIONS, trained / SIMULATIONS


# --- one trial ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dof", [3.0, 4.0, 10.0, 50.0])
def test_luck_is_rarely_kept_whether_edits_are_alike_or_not(dof: float) -> None:
    for rule, most in FALSE_KEEPS.items():
        sampling = 2.5 * math.sqrt(most / SIMULATIONS)
        assert simulate(0, rule, dof=dof)[0] <= most + sampling  # type: ignore[arg-type]
        assert simulate(0, rule, dof=dof, mixed=False)[0] <= most + sampling  # type: ignore[arg-type]
        assert simulate(-1, rule, dof=dof)[0] <= most / 3  # type: ignore[arg-type]
    assert simulate(0, dof=dof)[0] > 0.02, "a judge that keeps nothing is useless"


def test_a_wrong_scale_is_forgiven_in_part() -> None:
    """The trial's own differences count, too."""
    assert simulate(0, wrong_by=0.7)[0] < 0.10
    assert simulate(0, wrong_by=0.4)[0] < 0.16
    assert simulate(0, wrong_by=2.5)[0] < 0.02


@pytest.mark.parametrize(("gain", "power"), [(1, 0.5), (2, 0.85), (4, 0.97)])
def test_gains_are_kept(gain: float, power: float) -> None:
    assert simulate(gain)[0] > power


def test_the_level_of_a_trial_bounds_its_false_keeps() -> None:
    assert simulate(0, level=0.01)[0] <= 0.015
    assert simulate(0, level=0.001)[0] <= 0.003
    assert simulate(3, level=0.01)[0] > 0.85
    assert simulate(0, level=0.4)[0] <= 0.055, "never more than the rule's own"


def test_what_is_clear_is_settled_early() -> None:
    assert simulate(-5)[1] < 1.15
    assert simulate(0)[1] < 2.6
    assert simulate(8)[1] < 2.1 < simulate(1)[1]


def test_greedy_goes_by_the_sign_of_one_heat() -> None:
    judge = Judge("greedy", Noise(SCALE, 4))
    assert judge.verdict([]) == "heat"
    assert judge.verdict([1e-9]) == "keep"
    assert judge.verdict([0.0]) == judge.verdict([-1e-9, 5.0]) == "revert"
    assert judge.verdict([-1e-9], size_delta=-9) == "revert"


@given(
    st.lists(st.floats(-10, 10), min_size=0, max_size=20),
    st.sampled_from(["confirm", "strict", "greedy"]),
    st.integers(-3, 3),
    st.floats(1e-6, 0.5),
)
def test_it_always_decides_in_the_end(
    differences: list[float], rule: Rule, size_delta: int, level: float
) -> None:
    judge = Judge(rule, Noise(SCALE, 4.0))
    answer = judge.verdict(differences, size_delta=size_delta, level=level)
    assert answer in ("keep", "revert", "heat")
    if len(differences) >= MAX_HEATS[rule]:
        assert answer != "heat"
    if answer == "keep" and size_delta >= 0 and len(differences) < 3:
        assert fmean(differences) > 0 or rule == "greedy"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_cannot_be_judged_is_refused(bad: float) -> None:
    judge = Judge("confirm", Noise(SCALE, 4))
    with pytest.raises(ValueError, match="finite"):
        judge.verdict([0.1, bad])
    with pytest.raises(ValueError, match="level"):
        judge.verdict([0.1], level=0.0)
    with pytest.raises(ValueError, match="positive and finite"):
        Judge("confirm", Noise(bad, 4))
    with pytest.raises(ValueError, match="dof"):
        Judge("confirm", Noise(1.0, 0.5))
    with pytest.raises(ValueError, match="keep rule"):
        Judge("lucky", Noise(1.0, 4))  # type: ignore[arg-type]


# --- wild differences ---------------------------------------------------------------------------


def test_one_wild_difference_moves_the_verdict_little() -> None:
    """A champion that diverged once is no gain; a candidate that did is not lost for it."""
    judge, small = Judge("confirm", Noise(SCALE, 4)), [0.0001, -0.0003, 0.0002, -0.0001, 0.0]
    assert judge.verdict([*small, 2.0]) == "revert"
    good = [0.02, 0.019, 0.021, 0.02, 0.022]
    assert judge.verdict([*good, -2.0]) == "keep"
    assert judge.gain([*good, -2.0]).mean > 0.01


def test_diverged_trainings_do_not_make_false_keeps() -> None:
    assert simulate(0, wild=0.1)[0] < 0.06


# --- ties ---------------------------------------------------------------------------------------


def test_a_tie_is_kept_only_if_it_makes_the_program_shorter() -> None:
    assert simulate(0, size_delta=-2)[0] > 0.3
    assert simulate(0, size_delta=2)[0] == simulate(0)[0]
    assert simulate(-1, size_delta=-2)[0] < 0.12
    assert simulate(-3, size_delta=-2)[0] < 0.01


def test_ties_together_cost_no_more_than_is_left_for_them() -> None:
    level = [0.0001, -0.0002, 0.0003, 0.0, -0.0001, 0.0001]
    cost = Judge("confirm", Noise(SCALE, 4)).tie_cost(level)
    assert 0 < cost < SCALE
    assert Judge("confirm", Noise(SCALE, 4), 1.01 * cost).verdict(level, size_delta=-1) == "keep"
    assert Judge("confirm", Noise(SCALE, 4), 0.99 * cost).verdict(level, size_delta=-1) == "revert"
    assert Judge("confirm", Noise(SCALE, 4), 0.0).verdict(level, size_delta=-1) == "revert"


# --- a campaign ---------------------------------------------------------------------------------


def campaign(
    rng: np.random.Generator, rule: Rule, trials: int, nulls: float, good: float
) -> tuple[int, int]:
    """False keeps and keeps, with so large a share of edits without gain and with one."""
    judge, past, false, kept = Judge(rule, Noise(SCALE, 4), 0.0), [], 0, 0
    for _ in range(trials):
        draw = rng.random()
        gain = 0.0 if draw < nulls else rng.uniform(1, 6) if draw < nulls + good else -4.0
        spread = math.sqrt(4 / rng.chisquare(4))
        answer, differences = heats(judge, gain, spread, rng, level=trial_level(rule, past))
        past.append((len(differences) > 1 or answer == "keep", answer == "keep"))
        kept += answer == "keep"
        false += answer == "keep" and gain <= 0
    return false, kept


@pytest.mark.parametrize(("nulls", "good"), [(1.0, 0.0), (0.5, 0.02), (0.3, 0.1), (0.8, 0.2)])
@pytest.mark.parametrize("rule", ["confirm", "strict"])
def test_over_a_campaign_few_keeps_are_false(rule: Rule, nulls: float, good: float) -> None:
    rng = np.random.default_rng(1)
    found = [campaign(rng, rule, 60, nulls, good) for _ in range(120)]
    share = fmean(false / max(1, kept) for false, kept in found)
    sampling = 2 * math.sqrt(FALSE_SHARE[rule] * (1 - FALSE_SHARE[rule]) / len(found))
    assert share <= FALSE_SHARE[rule] + sampling
    if good >= 0.1:
        assert fmean(kept for _, kept in found) > 0.6 * 60 * good, "and real gains are found"


def test_the_level_starts_permissive_falls_while_nothing_is_kept_and_rises_with_a_keep() -> None:
    lost, passed, won = (False, False), (True, False), (True, True)
    assert trial_level("confirm", []) == 0.05
    assert trial_level("strict", []) == 0.01
    assert trial_level("greedy", []) is None
    levels = [trial_level("confirm", [passed] * n) for n in range(30)]
    assert levels == sorted(levels, reverse=True) and 0 < levels[-1] < 0.001  # type: ignore[type-var,operator]
    assert trial_level("confirm", [lost] * 50) == 0.05, "what fails its first heat spends nothing"
    assert trial_level("confirm", [passed] * 10 + [won]) == 0.05
    assert trial_level("confirm", [passed] * 10 + [won] + [passed] * 10) > levels[10]  # type: ignore[operator]


def test_what_a_campaign_spends_never_exceeds_its_share() -> None:
    """Each trial that passes spends its level over the share of nulls that pass."""
    for rule in ("confirm", "strict"):
        spent = sum(trial_level(rule, [(True, False)] * n) / 0.6 for n in range(400))  # type: ignore[arg-type,operator]
        assert spent <= FALSE_SHARE[rule]


# --- numbers ------------------------------------------------------------------------------------


def test_the_interval_covers_the_gain() -> None:
    rng, judge = np.random.default_rng(3), Judge("confirm", Noise(SCALE, 4))
    covered = 0
    for _ in range(2000):
        spread = math.sqrt(4 / rng.chisquare(4))
        found = judge.gain(list(SCALE * (1 + spread * rng.standard_normal(3))))
        covered += abs(found.mean - SCALE) < found.half
    assert 0.93 < covered / 2000 < 0.97


def test_gains_that_were_selected_are_told_smaller() -> None:
    """What was kept of edits with gains around 0 has, on average, the gain that is told."""
    rng, judge, effect = np.random.default_rng(2), Judge("confirm", Noise(SCALE, 50)), 2 * SCALE
    true, told, measured = [], [], []
    for _ in range(6000):
        gain = 2 * rng.standard_normal()
        answer, differences = heats(judge, gain, 1.0, rng)
        if answer == "keep":
            true.append(SCALE * gain)
            told.append(judge.corrected_gain(differences, effect).mean)
            measured.append(judge.gain(differences).mean)
    assert fmean(measured) > 1.04 * fmean(true)
    assert fmean(told) == pytest.approx(fmean(true), rel=0.03)
    assert shrunk(0.01, 0.0, effect) == 0.01


def test_what_is_implausible_is_quarantined() -> None:
    judge = Judge("confirm", Noise(SCALE, 4))
    assert not judge.too_good(0.035, 1.3)
    assert judge.too_good(0.05, 1.3)
    assert not judge.too_good(0.03, 0.5)


def test_words_say_once_what_the_verdict_used() -> None:
    judge = Judge("confirm", Noise(SCALE, 50))
    assert judge.words("keep", [0.02, 0.018]) == "kept: better by 0.0190 ± 0.0056 in 2 heats"
    lost = judge.words("revert", [-0.02])
    assert lost == "worse by 0.0200 ± 0.0080 in 1 heat, reverted"
    assert "which can be luck" in judge.words("revert", [0.001, 0.002])
    assert judge.words("keep", [0.0, 0.001], tie=True).startswith("kept: shorter, and level with")


def test_rewards_have_one_unit_and_are_clipped() -> None:
    assert reward(0.02, 0.04) == 0.5
    assert reward(1.0, 0.04) == 1.0
    assert reward(-1.0, 0.04) == -0.2
    assert reward(-0.004, 0.04, status="abandoned") == pytest.approx(-0.1)
    assert reward(None, 0.04, status="unjudged") is None
    for status in ("crashed", "oom", "overtime", "invalid"):
        assert reward(None, 0.04, status=status) == -0.2


def test_the_false_keep_meter_is_an_upper_limit() -> None:
    assert most_false_keeps(0, 0) == 1.0
    assert most_false_keeps(7, 0) == pytest.approx(1 - 0.05 ** (1 / 7), abs=1e-6)
    assert most_false_keeps(7, 7) == 1.0
    assert most_false_keeps(20, 1) == pytest.approx(0.216, abs=0.001)
