"""What is made of a training's reports: by twentieths, each once, whatever is reported when."""

import math
from typing import Any

import pytest

from trainer.data.prepare import Corpus
from trainer.measure import measure
from trainer.presets import Budget
from trainer.training.curve import TWENTIETHS, Curve

BITS = 1 / math.log(2)
"""Bytes per token with which a nat per token is a bit per byte."""
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}

LOGS_ITS_TOKENS = """

def train(session):
    session.ready()
    while not session.done():
        session.consumed(2000)
        session._next_log = 0.0
        session.log(0, loss=session._clock.tokens / 1000)
    return build_model(session.spec)
"""


def test_each_loss_counts_where_its_share_ends() -> None:
    curve = Curve(Budget(seconds=1), bytes_per_token=0.5 / math.log(2))
    for share, loss in [(0.01, 1.0), (0.05, 2.0), (0.0500001, 4.0), (0.15, 5.0), (1.0, 6.0)]:
        curve.add_loss(share, loss)
    assert curve.losses == (3.0, 8.0, 10.0, *[None] * 16, 12.0)


@pytest.mark.parametrize("twentieth", range(1, TWENTIETHS + 1))
def test_the_end_of_a_twentieth_belongs_to_it(twentieth: int) -> None:
    curve = Curve(Budget(seconds=1), BITS)
    curve.add_loss(twentieth / TWENTIETHS, 1.0)
    assert curve.losses.index(1.0) == twentieth - 1
    assert curve.completed == twentieth


def test_what_is_over_does_not_change() -> None:
    curve = Curve(Budget(seconds=1), BITS)
    curve.add_loss(0.04, 1.0)
    curve.reach(0.11)
    curve.add_loss(0.02, 9.0)
    assert curve.completed_losses == (1.0, None)
    assert curve.losses[2] == 9.0
    curve.reach(7.0)
    curve.add_loss(0.5, 9.0)
    assert len(curve.completed_losses) == TWENTIETHS and curve.losses[2] == 9.0
    assert curve.losses[-1] is None


def test_many_points_are_thinned_and_losses_are_not() -> None:
    curve = Curve(Budget(seconds=1), BITS)
    for step in range(5000):
        curve.add_loss(0.01, float(step))
        curve.add_point(step / 100, step, float(step))
    assert len(curve.points) <= 1000 and curve.points[0] == (0.0, 0, 0.0)
    assert curve.losses[0] == sum(range(5000)) / 5000


def reported(rates: list[float]) -> Curve:
    """A curve of a training with these steps a second in tenths of 10 s each."""
    curve = Curve(Budget(seconds=100), BITS)
    done = 0.0
    for tenth, rate in enumerate(rates):
        for second in range(10):
            seconds = 10 * tenth + second + 0.5
            done += rate
            curve.add_step(curve.share(seconds), seconds, int(done))
    return curve


@pytest.mark.parametrize(
    ("rates", "pace"),
    [
        ([10.0] * 10, 1.0),
        ([10.0] * 4 + [20.0] * 6, 2.0),
        ([10.0] * 3 + [1.0] + [10.0] * 6, 1.0),  # a pause
        ([90.0] + [10.0] * 9, 1.0),
        ([10.0] * 3 + [20.0], 1.0),  # too little is known
        ([], 1.0),
        ([0.0] * 10, 1.0),
    ],
)
def test_pace_is_that_of_more_than_one_tenth(rates: list[float], pace: float) -> None:
    assert reported(rates).pace == pytest.approx(pace, rel=0.11)


def test_the_pace_of_a_machine_that_slows_down(tiny_source: str) -> None:
    slows = """
import time

def train(session, honest=train):
    done = session.done
    session.done = lambda: time.sleep(0.01 if session._clock._spent() < 0.5 else 0.2) or done()
    return honest(session)
"""
    measured = measure(tiny_source + slows, budget="4s", **CPU)
    assert measured.status == "ok" and measured.pace > 1.5


def test_losses_under_a_token_budget(tiny_source: str, prepared: Corpus) -> None:
    """2,000 of 80,000 tokens a step: two steps a twentieth, reported one by one."""
    measured = measure(tiny_source + LOGS_ITS_TOKENS, budget="80000tok", **CPU)
    assert measured.reason.startswith("movement"), measured.reason + measured.detail
    domain = [part for part in prepared.train if part.in_domain]
    tokens = sum(part.n_tokens - part.n_docs for part in domain)
    scale = tokens / sum(part.n_bytes for part in domain) / math.log(2)
    expected = [scale * (4 * k + 3) for k in range(TWENTIETHS)]
    assert measured.losses == pytest.approx(expected, rel=1e-4)


def test_losses_under_a_time_budget_and_replayed(tiny_source: str) -> None:
    first = measure(tiny_source, budget="2s", seed=1, **CPU)
    again = measure(tiny_source, budget="2s", seed=1, trace=first.trace, **CPU)
    for measured in (first, again):
        assert measured.status == "ok" and len(measured.losses) == TWENTIETHS
        known = [loss for loss in measured.losses if loss is not None]
        assert len(known) > 5 and 8.1 > known[0] > known[-1] > 1
