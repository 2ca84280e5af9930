"""forecast.py: which candidates are given up early, and how many good ones that costs."""

from __future__ import annotations

import numpy as np
import pytest

from agent.forecast import (
    CHECKPOINTS,
    PARTS,
    Course,
    doubt_about,
    forecast,
    is_hopeless,
    learn_doubt,
    so_far,
)
from agent.judge import Judge, Noise

SCALE = 0.01
JUDGE = Judge("confirm", Noise(SCALE, 4))
STILL_OPEN = tuple(3.0 - 0.05 * part for part in range(PARTS))


def course(rng: np.random.Generator, gain: float, category: str = "optimizer") -> Course:
    """A heat: the difference drifts from where it starts to the gain, with noise of its own."""
    start = gain * rng.uniform(0.4, 1.6)
    path = np.linspace(start, gain, PARTS) + 0.5 * SCALE * rng.standard_normal(PARTS)
    end = gain + SCALE * rng.standard_normal()
    candidate = tuple(float(loss - d) for loss, d in zip(STILL_OPEN, path, strict=True))
    return Course(category, STILL_OPEN, candidate, end, SCALE)


def abandoned_at(one: Course, doubt: float = 1.0, **how: int) -> int | None:
    """After how many parts the candidate is given up; None if it is not."""
    for parts in CHECKPOINTS:
        difference = so_far(one.champion, one.candidate, parts)
        assert difference is not None
        told = forecast(difference, parts, SCALE, doubt)
        if is_hopeless(JUDGE, [], told, size_delta=how.get("size_delta", 0), level=0.05):
            return parts
    return None


def test_the_difference_so_far_is_that_of_the_latest_parts() -> None:
    champion, candidate = [3.0, 2.0, 2.0, 2.0, 2.0, 9.0], [9.0, 1.9, None, 1.7, 1.6, 0.0]
    assert so_far(champion, candidate, 5) == pytest.approx((0.1 + 0.3 + 0.4) / 3)
    assert so_far(champion, [None] * 6, 5) is None
    assert so_far(champion, candidate[:2], 5) is None
    assert so_far((), candidate, 5) is None


def test_forecasts_get_surer() -> None:
    errors = [forecast(-0.1, parts, SCALE).error for parts in CHECKPOINTS]
    assert errors == sorted(errors, reverse=True)
    assert forecast(-0.1, 5, SCALE, doubt=2.0).error == 2 * errors[0]


def test_the_clearly_bad_end_early() -> None:
    rng = np.random.default_rng(0)
    ends = [abandoned_at(course(rng, -0.3)) for _ in range(200)]
    assert sum(end is not None for end in ends) > 190
    assert np.mean([end or PARTS for end in ends]) < 0.6 * PARTS


def test_few_that_would_be_kept_are_lost() -> None:
    rng = np.random.default_rng(1)
    for gain in (0.0, SCALE, 3 * SCALE):
        lost = sum(abandoned_at(course(rng, gain)) is not None for _ in range(1000))
        assert lost <= 20, "2 %"


def test_a_slow_start_alone_ends_nothing() -> None:
    """Behind by a tenth of a bit after a quarter of the budget, level at the end."""
    path = np.linspace(-0.15, 0.0, PARTS)
    candidate = [loss - d for loss, d in zip(STILL_OPEN, path, strict=True)]
    assert abandoned_at(Course("schedule", STILL_OPEN, candidate, 0.0, SCALE), doubt=1.6) is None


def test_a_shorter_program_that_may_still_tie_goes_on() -> None:
    told = forecast(-0.012, 17, SCALE)
    judge = Judge("confirm", Noise(SCALE / 10, 4), ties_left=0.05)
    assert not is_hopeless(judge, [], told, size_delta=-1, level=0.05)


def test_doubt_is_learnt_from_heats_that_ran_to_their_end() -> None:
    rng = np.random.default_rng(2)
    fine = [course(rng, gain) for gain in rng.normal(0, 0.05, 60)]
    wrong = [Course(c.category, c.champion, c.candidate, -c.difference, SCALE) for c in fine]
    assert learn_doubt([])[0] == 1.0
    assert 0.4 < learn_doubt(fine)[0] < 1.1
    assert learn_doubt(wrong)[0] > 1.8 * learn_doubt(fine)[0]
    assert learn_doubt(fine)[1] == 60


def test_what_the_loss_does_not_compare_is_not_given_up_until_it_is_seen_to() -> None:
    rng = np.random.default_rng(3)
    fine = [course(rng, gain) for gain in rng.normal(0, 0.05, 30)]
    own = [course(rng, gain, "dataset") for gain in rng.normal(0, 0.05, 30)]
    wrong = [Course(c.category, c.champion, c.candidate, -c.difference, SCALE) for c in own]
    assert doubt_about("optimizer", False, fine) is not None
    assert doubt_about("optimizer", True, fine) is None, "its logged loss is another quantity"
    for category in ("dataset", "preprocessing", "regularisation", "schedule"):
        assert doubt_about(category, False, fine) is None
    assert doubt_about("dataset", False, [*fine, *own[:7]]) is None
    assert doubt_about("dataset", False, [*fine, *own]) is not None
    assert doubt_about("dataset", False, [*fine, *wrong]) is None


def test_a_heat_that_may_end_well_goes_on_though_its_forecast_is_wild() -> None:
    """A difference far above the others makes a trial noisier, but the heat may end among them."""
    earlier = [0.021, 0.019, 0.02, 0.022]
    judge = Judge("strict", Noise(SCALE, 4))
    assert judge.verdict([*earlier, 0.02], level=0.001) != "revert"
    assert not is_hopeless(judge, earlier, forecast(0.3, 5, SCALE), size_delta=0, level=0.001)
