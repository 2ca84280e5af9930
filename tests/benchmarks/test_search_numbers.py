"""The simulated searches of numbers: a surface agrees with its heats, and the table adds up."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.proposers.tuner import Tuner
from benchmarks.landscape import Landscape
from benchmarks.landscape.table import Heat
from benchmarks.search import numbers
from benchmarks.search.surface import Recording, held_out, noise_of

NOISE = 0.01
WORTH = {
    "LEARNING_RATE": {0.002: 0.05, 0.004: 0.09, 0.02: -0.3},
    "DROPOUT": {0.05: 0.01, 0.2: -0.02},
    "ADAM_BETA1": {0.8: 0.0, 0.94: -0.01},
    "ACTIVATION": {"relu2": 0.04, "silu": -0.04},
}
"""What values of constants of examples/plain.py are worth in the tests' heats."""


def heats() -> list[Heat]:
    """Four of each value, of a depth that is refused, and of a pair that gains the sum."""
    dice, found = random.Random(0), []

    def heat(name: str, gain: float | None, parts: tuple[str, ...] = ()) -> None:
        base = 2.5 + dice.gauss(0, 2 * NOISE)
        score = None if gain is None else base - gain - dice.gauss(0, NOISE)
        about = {"start": "plain", "category": "", "kind": "numbers", "title": name, "parts": parts}
        about |= {"name": f"plain/constant/{name}", "origin": "pair" if parts else "constant"}
        status = "ok" if score is not None else "invalid"
        training = {"edit": about, "code": "", "val_bpb": score, "status": status}
        found.append({"start": "plain", "base": {"val_bpb": base}, "trainings": [training]})

    for _ in range(4):
        for constant, gains in WORTH.items():
            for value, gain in gains.items():
                heat(f"{constant} {value}", gain)
        heat("DEPTH 6", None)
        parts = ("plain/constant/LEARNING_RATE 0.004", "plain/constant/ACTIVATION relu2")
        heat("both", 0.13, parts)
    return found


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.of(Landscape.of(heats()), heats(), "plain")


def test_draws_of_the_surface_agree_with_the_heats_and_are_open_elsewhere(
    recording: Recording,
) -> None:
    surfaces = [recording.draw(seed) for seed in range(40)]
    assert all(surface.gain({}) == surface.gain({"DROPOUT": 0.1}) == 0 for surface in surfaces)
    for name, gains in WORTH.items():
        for value, gain in gains.items():
            drawn = [surface.gain({name: value}) or 0.0 for surface in surfaces]
            assert np.mean(drawn) == pytest.approx(gain, abs=2 * NOISE), (name, value)
            assert np.std(drawn) < NOISE
    unseen = [surface.gain({"WARMDOWN_SHARE": 0.5}) or 0.0 for surface in surfaces]
    assert np.std(unseen) > NOISE
    assert all(surface.gain({"DEPTH": 8}) is None for surface in surfaces)
    assert all(surface.gain({"DEPTH": 2}) is not None for surface in surfaces)


@pytest.mark.slow
@pytest.mark.process  # as all that is slow
def test_effects_add_up_but_for_interactions(recording: Recording) -> None:
    assert recording.interaction < NOISE, "the recorded pair is worth the sum of its parts"
    point = {"LEARNING_RATE": 0.004, "ACTIVATION": "relu2"}
    for interaction, spread in ((0.0, 1e-6), (0.05, 0.02)):
        drawn = [replace(recording, interaction=interaction).draw(seed) for seed in range(12)]
        extra = [
            (s.gain(point) or 0.0) - sum((s.gain({k: v}) or 0.0) for k, v in point.items())
            for s in drawn
        ]
        assert (np.std(extra) > spread) == (interaction > 0)


def test_the_surface_is_said_to_predict_as_well_as_it_does(recording: Recording) -> None:
    told = held_out(recording)
    assert told["edits"] == sum(map(len, WORTH.values()))
    assert told["noise_of_a_difference"] == pytest.approx(NOISE, rel=0.4)
    assert told["rms_of_noise"] == pytest.approx(recording.noise / 2, rel=0.01)
    assert told["within_95"] >= 0.8
    assert told["pairs"] == 1 and told["pairs_rms_error_of_sum"] < 2 * NOISE
    dice = random.Random(1)
    drawn = [noise_of(recording, dice) for _ in range(2000)]
    assert abs(np.mean(drawn)) < recording.noise / 10
    assert np.std(drawn) == pytest.approx(recording.noise, rel=0.1)


@pytest.mark.process  # takes seconds
def test_a_simulated_campaign_keeps_what_gains_and_is_the_same_again(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "TRAININGS", 40)
    surface = recording.draw(1)
    course = numbers.tuned(Tuner)(recording, surface, 1)
    assert course == numbers.tuned(Tuner)(recording, surface, 1)
    assert course[-1][1] > 0.03
    trainings = [when for when, _ in course]
    assert trainings == sorted(set(trainings)) and all(when % 2 == 0 for when in trainings)
    plain = numbers.plain("TPE")(recording, surface, 1)
    assert plain[0] == (1, 0.0), "the start comes first"
    assert plain[-1][0] <= 40


@pytest.mark.parametrize(
    ("trainings", "gain"), [(0, 0.0), (9, 0.0), (10, 0.1), (29, 0.1), (30, 0.4), (120, 0.4)]
)
def test_what_is_handed_over_counts_from_then_on(trainings: int, gain: float) -> None:
    assert numbers.at([(0, 0.0), (10, 0.1), (30, 0.4)], trainings) == gain


def test_the_table_tells_the_share_of_tpe_s_time_of_shared_seeds() -> None:
    fast, slow = [(0, 0.0), (30, 0.5)], [(1, 0.0), (90, 0.4)]
    rows = numbers.summary(
        {"TPE": {0: slow, 1: slow}, "tuner": {0: fast, 1: fast, 7: slow}, "never": {0: [(1, 0.0)]}}
    )
    assert rows["tuner"]["seeds"] == 2
    assert rows["tuner"]["to_tpe"] == 30 / numbers.TRAININGS
    assert rows["tuner"]["more_than_tpe"] == [0.1, 0.0]
    assert rows["TPE"]["to_tpe"] == 90 / numbers.TRAININGS
    assert rows["never"]["to_tpe"] is None
    assert rows["tuner"]["gain"][1:4] == [0.0, 0.5, 0.5]


def test_what_is_recorded_is_not_simulated_again(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def search(_: Recording, __: object, seed: int) -> numbers.Course:
        asked.append(seed)
        return [(0, 0.0), (4, float(seed))]

    monkeypatch.setattr(numbers, "ARMS", {"TPE": search})
    path, only = tmp_path / "numbers.jsonl", ["TPE"]
    monkeypatch.setattr(numbers, "recorded", lambda: recording)
    assert numbers.run(2, path, only) == numbers.run(2, path, only)
    assert numbers.run(3, path, only)["TPE"][2] == [(0, 0.0), (4, 2.0)]
    assert asked == [0, 1, 2]
    other = replace(recording, scores=(*recording.scores, 0.0))
    monkeypatch.setattr(numbers, "recorded", lambda: other)
    numbers.run(1, path, only)
    assert asked == [0, 1, 2, 0], "of another recording it is another surface"
