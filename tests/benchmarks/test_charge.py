"""The arithmetic of what the stronger audit takes and charges."""

from dataclasses import replace

import pytest

from benchmarks.charge import Place, calculated, unseen_positions
from trainer.measure import AUDIT_SHARE
from trainer.presets import Budget, find_preset

PLACE = Place(val_bpb=1.0, bytes_per_token=4.0, seconds_a_window=1e-3)
H100 = find_preset("h100")


def test_three_positions_in_as_many_as_are_asked_may_have_been_missed() -> None:
    assert unseen_positions(1000, 10**6) == pytest.approx(3.0 * 10**3, rel=0.02)
    assert unseen_positions(500_000, 10**6) == pytest.approx(3.0 / 0.693, rel=0.02)


def test_it_stops_at_a_tenth_of_the_noise() -> None:
    found = calculated(H100, PLACE, tail=4.0)
    assert found["cuts"] == pytest.approx(3.0 * 4.0 / 1e-4, rel=0.05)
    assert found["charge_bpb"] == pytest.approx(1e-4, rel=0.01)
    assert found["seconds"] == pytest.approx(found["cuts"] * 1e-3 * 9 / 16, rel=0.01)


def test_or_when_its_time_is_over() -> None:
    found = calculated(replace(H100, budget=Budget(seconds=20.0)), PLACE, tail=4.0)
    assert found["seconds"] == pytest.approx(AUDIT_SHARE * 20.0, rel=0.01)
    assert found["charge_bpb"] > 1e-4
