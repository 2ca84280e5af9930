"""What the trials have taught reaches the model in words: what paid, what is exhausted, what was
tried in one direction only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prompt_trials import BASELINE, part, trial

from agent.judge import OVERSIZE
from agent.proposers.base import Context
from agent.proposers.lessons import by_todays_name, lessons, one_way
from agent.proposers.llm import LLMProposer


def setting(name: str, old: str, new: str, category: str = "schedule") -> str:
    """A reply that gives a constant another value."""
    return (
        f"title: {name}\ncategory: {category}\nhypothesis: it helps\n<<<<<<< SEARCH\n"
        f"{name} = {old}  # range 0..1\n=======\n{name} = {new}  # range 0..1\n>>>>>>> REPLACE\n"
    )


HISTORY = (
    BASELINE,
    trial(1, category="architecture", verdict="keep", gain=0.01234),
    trial(2, reply=setting("WARMDOWN", "0.3", "0.5")),
    trial(3, reply=setting("WARMDOWN", "0.3", "0.7")),
    trial(4, reply=setting("FLOOR", "0.1", "0.05")),
    trial(5, reply=setting("FLOOR", "0.1", "0.2")),
    trial(6, reply=setting("RAMP", "0.5", "0.25"), verdict="keep", gain=0.0021),
    *(trial(n, reply=setting("PEAK", "3", f"{4 - n}e-1")) for n in range(7, 12)),
    trial(12, category="schedule", shows="optimizer", gain=0.0051),
    trial(13, category="optimizer", status="crashed", gain=None, trainings=()),
    trial(14, category="optimizer", status="unjudged", gain=None, trainings=()),
)
THERE = "WARMDOWN = 0.3\nFLOOR = 0.1\nRAMP = 0.5\nPEAK: float = 3  # range 0..9\n"
PRIOR = {"dataset": 0.2, "optimizer": 0.1, "schedule": 0.3, "architecture": 0.4}


def test_what_came_of_each_category() -> None:
    found = {one.category: one for one in lessons(HISTORY, PRIOR)}
    assert list(found) == ["architecture", "schedule", "optimizer", "dataset"]
    schedule, optimizer = found["schedule"], found["optimizer"]
    assert (schedule.tried, schedule.kept, schedule.gain, schedule.dry) == (10, 1, 0.0021, 5)
    assert schedule.exhausted and not found["architecture"].exhausted
    assert (optimizer.tried, optimizer.near, optimizer.failed, optimizer.dry) == (2, 1, 1, 0)
    assert [one.often for one in found.values()] == ["more", "usual", "less", "usual"]
    assert not lessons(HISTORY[:-7], PRIOR)[1].exhausted, "the kept one was just before"


def test_what_was_moved_in_one_direction_only() -> None:
    assert one_way(HISTORY, "schedule", THERE) == {"WARMDOWN": "up", "PEAK": "down"}
    assert one_way(HISTORY, "schedule", "WARMDOWN = 0.3") == {"WARMDOWN": "up"}, "PEAK is gone"
    assert one_way(HISTORY, "optimizer", THERE) == {}


@pytest.mark.parametrize(
    ("old", "new", "way"),
    [
        ("...", "2", ""),
        ("_", "..", ""),
        ("1.5.2", "2", ""),
        ("1__0", "2", ""),
        ("WIDTH", "2", ""),
        ("1_000", "1e3", ""),
        ("1_000", "2E3", "up"),
        ("-1e-3", ".5", "up"),
        ("1.", "-2", "down"),
    ],
)
def test_numbers_alone_are_moved(old: str, new: str, way: str) -> None:
    found = one_way([trial(1, reply=setting("A", old, new))], "schedule", "A = 1")
    assert found == ({"A": way} if way else {})


def test_too_much_memory_is_a_failure_and_no_near_miss() -> None:
    history = [trial(n, status=OVERSIZE, gain=0.02) for n in range(1, 6)]
    told = lessons(history, {"schedule": 1.0})[0]
    assert (told.near, told.failed) == (0, 5)


@pytest.mark.parametrize(
    ("fields", "exhausted"),
    [
        ({"gain": -0.01}, True),
        ({"status": "abandoned", "gain": -0.01}, True),
        ({"status": "crashed", "gain": None}, False),
        ({"verdict": "rejected", "status": ""}, False),
        ({"status": "unjudged", "gain": None}, False),
        ({"verdict": "keep"}, False),
    ],
)
def test_only_what_was_measured_exhausts(fields: dict[str, Any], exhausted: bool) -> None:
    history = [trial(n, **fields) for n in range(1, 7)]
    assert lessons(history, {"schedule": 1.0})[0].exhausted is exhausted


def test_a_category_with_another_name_keeps_its_lessons() -> None:
    known = {"categories": ("schedule", "optimizer"), "described": ("d0", "d1")}
    history = [replace(t, **known) for t in HISTORY[:7]] + [trial(7, **known, shows="optimizer")]
    today = {"rates": "d0", "optimizer": "d2", "twin": ""}
    found = by_todays_name(history, today)
    assert [t.credited for t in found[1:]] == ["architecture", *["rates"] * 5, "optimizer"]
    assert lessons(found, dict.fromkeys(today, 0.3))[0].tried == 5
    assert one_way(found, "rates", THERE) == {"WARMDOWN": "up"}


def test_in_words(unasked: LLMProposer, context: Context) -> None:
    told = part(
        unasked.prompt(replace(context, history=HISTORY, prior=PRIOR, source=THERE)), "focus"
    )
    assert (
        "- architecture: 1 tried, 1 kept, +0.012 in all; asked for more often now\n"
        "- schedule: 10 tried, 1 kept, +0.0021 in all, 9 lost; the last 5 brought nothing: "
        "exhausted, unless an idea is of another kind than theirs\n"
        "- optimizer: 2 tried, none kept, 1 near miss, 1 failed or rejected; asked for less often "
        "now\n\nNot tried yet: dataset.\n\n"
        "In schedule these constants were moved in one direction only, and nothing of it was kept, "
        "so the other direction is open:\n\n"
        "- WARMDOWN: only raised so far\n- PEAK: only lowered so far\n"
    ) in told
    for exact in ("01234", "0.4", "0.1"):
        assert exact not in told.partition("One heat")[0]


def test_nothing_is_said_of_nothing(unasked: LLMProposer, context: Context) -> None:
    told = part(unasked.prompt(replace(context, history=(BASELINE,), prior=PRIOR)), "focus")
    assert "tried," not in told and "one direction" not in told
    assert "Not tried yet: dataset, optimizer, schedule, architecture.\n" in told
