"""A profile as a confined training of its own, which leaves the others as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from trainer import measure
from trainer.training import job

pytestmark = pytest.mark.process
CRASHES = """
def train(session):
    raise KeyError("no such\\n\x07thing")
"""
HANGS = """
def train(session):
    import time
    session.ready()
    time.sleep(600)
"""


def profile(source: str, **how: Any) -> measure.Profile:
    return measure.profile(source, preset="cpu", data="apidocs", device="cpu", **how)


def test_a_profile_is_taken_apart_from_all_that_counts(tiny_source: str) -> None:
    machine = measure.MACHINE
    before = copy.deepcopy(machine.start_ups._shortest)
    found = profile(tiny_source)
    assert (found.status, found.reason) == ("ok", "")
    assert found.steps > 0 and sum(found.phases.values()) == pytest.approx(1.0)
    assert {(g.name, g.rule) for g in found.groups} == {("last", "Adam"), ("before", "Adam")}
    assert machine.start_ups._shortest == before


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        (CRASHES, "crashed", "KeyError"),
        (HANGS, "overtime", "no weights"),
        ("SEQ_LEN = 0", "invalid", "contract"),
    ],
)
def test_one_that_fails_says_why(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch, source: str, status: str, said: str
) -> None:
    monkeypatch.setattr(job, "PROFILE_CAP_SECONDS", 1.0)
    found = profile(tiny_source + source)
    assert found.status == status and said in found.reason
    assert (found.steps, found.phases, found.groups) == (0, {}, ())
