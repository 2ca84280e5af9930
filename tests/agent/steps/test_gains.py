"""Intervals against numbers that are known, and labels."""

from __future__ import annotations

import math
import random

import pytest

from agent.report.text import span
from agent.report.verification import _fallen
from agent.steps.fresh import Interval, interval
from agent.steps.gains import Documents, by_documents, label
from agent.steps.verify import Asked, half_of


def documents(bits: float, count: int, groups: int = 1, seed: int = 0) -> Documents:
    """Of 1,000 bytes each, scattered about ``bits`` a byte."""
    scatter = random.Random(seed)
    return [(f"g{n % groups}", 1000, 1000 * (bits + scatter.gauss(0, 0.1))) for n in range(count)]


def less(text: Documents, by_group: dict[str, float]) -> Documents:
    return [(g, size, bits - size * by_group.get(g, 0.0)) for g, size, bits in text]


def test_over_seeds_it_is_students_t() -> None:
    # Mean 2, standard deviation 1, t(2; .975) = 4.3027, over the root of 3.
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert half_of(found) == found.high - 2.0


def test_the_bootstrap_agrees_with_the_normal_interval_of_many_documents() -> None:
    before = documents(2.0, 400, seed=1)
    scatter = random.Random(2)
    after = [(g, size, bits - 100 * scatter.gauss(0.1, 1.0)) for g, size, bits in before]
    found = by_documents([[(before, after)]])["by_documents"]
    assert (found["drawn"], found["documents"]) == ("documents", 400)
    by_t = interval([(b[2] - a[2]) / 1000 for b, a in zip(before, after, strict=True)])
    near = 0.1 * (by_t.high - by_t.low)
    assert found["mean"] == pytest.approx(by_t.mean)
    assert found["low"] == pytest.approx(by_t.low, abs=near)
    assert found["high"] == pytest.approx(by_t.high, abs=near)


def test_it_is_paired() -> None:
    """Documents differ by 0.1 bit a byte, their gains not at all: the interval has no width."""
    before = documents(2.0, 50)
    found = by_documents([[(before, less(before, {"g0": 0.01}))]])["by_documents"]
    assert [found["low"], found["high"]] == pytest.approx([0.01, 0.01])


def test_seeds_are_averaged_by_document_and_heats_add_up() -> None:
    one, two = documents(2.0, 20), documents(2.0, 20, seed=5)
    seeds = [
        [(one, less(one, {"g0": 0.01})), (two, less(two, {"g0": 0.02}))],
        [(one, less(one, {"g0": 0.03})), (two, two)],
    ]
    found = by_documents(seeds)
    assert found["by_documents"]["mean"] == pytest.approx(0.03)


def test_a_group_may_fall_while_the_average_rises() -> None:
    before = documents(2.0, 60, groups=3)
    after = less(before, {"g0": 0.03, "g1": 0.03, "g2": -0.02})
    found = by_documents([[(before, after)]])
    assert found["by_documents"]["mean"] == pytest.approx(0.04 / 3)
    assert found["groups"][0]["group"] == "g2"
    assert found["groups"][0]["mean"] == pytest.approx(-0.02)
    assert found["groups"][0]["documents"] == 20


def test_of_a_few_documents_there_is_no_interval_and_none_surely_fell() -> None:
    """All that are drawn of one are alike: that is no certainty."""
    before = [*documents(2.0, 40), ("few", 1000, 2000.0), *[("five", 1000, 2000.0)] * 5]
    after = less(before, {"few": -0.02, "five": -0.01, "g0": 0.03})
    found = by_documents([[(before, after)]])
    few, five, *_ = found["groups"]
    assert (few["group"], few["low"], few["high"]) == ("few", None, None)
    assert few["mean"] == pytest.approx(-0.02) and five["high"] == pytest.approx(-0.01)
    text = _fallen(found["groups"])
    assert "fell on 1 of 3 groups of documents: five" in text and "not surely, on 1" in text
    assert "too few for an interval" in span(few)


def test_where_there_are_enough_groups_whole_ones_are_drawn() -> None:
    """A gain that is the same within a group is known by the number of groups, not of documents."""
    before = documents(2.0, 1200, groups=12)
    scatter = random.Random(3)
    effects = {f"g{n}": scatter.gauss(0.0, 0.01) for n in range(12)}
    found = by_documents([[(before, less(before, effects))]])
    by_t = interval(list(effects.values()))
    assert found["by_documents"]["drawn"] == "groups"
    width = (found["by_documents"]["high"] - found["by_documents"]["low"]) / (by_t.high - by_t.low)
    assert 0.6 < width < 1.05, "documents alone would give a tenth"


@pytest.mark.parametrize(
    "pair",
    [
        ((), ()),
        ([("a", 10, 1.0)], [("a", 10, 2.0)]),
        ([("a", 10, 1.0), ("b", 5, 1.0)], ()),
        ([("a", 10, 1.0), ("b", 5, 1.0)], [("a", 10, 1.0), ("b", 6, 1.0)]),
    ],
)
def test_without_documents_nothing_is_said_of_them(pair: tuple[Documents, Documents]) -> None:
    assert by_documents([[pair]]) == by_documents([]) == {}


def test_it_is_drawn_alike_each_time() -> None:
    before = documents(2.0, 30)
    after = documents(1.9, 30, seed=9)
    assert by_documents([[(before, after)]]) == by_documents([[(before, after)]])


@pytest.mark.parametrize(
    ("values", "seeds", "within", "is_enough"),
    [
        ([0.1], 2, None, False),
        ([0.1, 0.2], 2, None, True),
        ([0.1, 0.1], 5, 0.001, False),
        ([0.1] * 7, 5, 0.001, False),
        ([0.1] * 8, 5, 0.001, True),
        ([0.1, 0.2, 0.3], 5, 0.001, False),
        ([0.1, 0.2] * 20, 5, 0.001, True),
        ([0.1, 0.2] * 19, 5, 0.001, False),
    ],
)
def test_enough(values: list[float], seeds: int, within: float | None, is_enough: bool) -> None:
    assert Asked(None if within else seeds, within).is_met(values) is is_enough


@pytest.mark.parametrize(
    ("low", "high", "claimed", "said"),
    [
        (0.001, 0.02, 0.01, "transfers"),
        (-0.001, 0.004, 0.01, "budget-bound"),
        (-0.02, -0.01, 0.01, "budget-bound"),
        (-0.001, 0.006, 0.01, "undecided"),
        (0.0, 0.004, 0.01, "budget-bound"),
        (-0.02, -0.01, None, "undecided"),
        (-0.02, -0.01, 0.0, "undecided"),
        (-0.02, -0.01, 0.003, "undecided"),
        (-0.01, 0.01, 0.0, "undecided"),
    ],
)
def test_label(low: float, high: float, claimed: float | None, said: str) -> None:
    assert label(Interval((low + high) / 2, low, high), claimed, 0.004) == said
