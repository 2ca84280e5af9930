"""Which heats run side by side, and in which order the others do."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from trainer.contract import Code, Spec
from trainer.data.prepare import Corpus
from trainer.measure import MACHINE, heat
from trainer.presets import Budget, find_preset
from trainer.training.heat import fits, how_to_train, on_one_footing
from trainer.training.job import Job, Trained
from trainer.training.machine import Setting, Share
from trainer.training.watch import NO_CANDIDATE

CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}


def job(corpus: Corpus, device: str, budget: Budget) -> Job:
    setting = Setting(find_preset("cpu"), device, "os", 1, "apidocs")
    return Job(Code("", Spec(257, 256), device, 1), corpus, budget, 0, setting, print, bool)


@pytest.mark.parametrize(
    ("device", "peak", "memory", "device_memory", "how"),
    [
        ("cpu", None, 4_100, None, "side by side"),
        ("cpu", None, 3_900, None, "in turn"),
        ("cpu", 1_000.0, 2_501, None, "side by side"),
        ("cpu", 1_000.0, 2_499, None, "in turn"),
        ("cpu", 4_000.0, 9_999, None, "in turn"),
        ("cuda", None, 100_000, 80_000, "in turn"),
        ("cuda", 32_000.0, 100_000, 80_000, "side by side"),
        ("cuda", 33_000.0, 100_000, 80_000, "in turn"),
        ("cuda", 32_000.0, 70_000, 80_000, "in turn"),
        ("mps", 1_000.0, 100_000, None, "in turn"),  # how much it has is not known
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_side_by_side_is_what_fits(
    prepared: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
    device: str,
    peak: float | None,
    memory: int,
    device_memory: int | None,
    how: str,
) -> None:
    available = SimpleNamespace(available=(2 * memory if shared else memory) << 20)
    if shared:  # what other workers may take is not this one's
        monkeypatch.setattr(MACHINE, "share", Share(memory_mb=memory))
    probe = {} if device_memory is None else {"device_memory_mb": device_memory}
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(MACHINE, "_probe", {"device": device, **probe})
    for budget, expected in [(Budget(seconds=9), how), (Budget(tokens=9), "in turn")]:
        two = [job(prepared, device, budget)] * 2
        assert how_to_train(two, peak) == expected
        assert how_to_train([*two, Trained("invalid")], peak) == expected
        assert how_to_train(two[:1], peak) == "alone"


def test_workers_share_the_memory_but_not_their_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    available = SimpleNamespace(available=256_000 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(MACHINE, "_probe", {"device": "cuda", "device_memory_mb": 140_000})
    assert fits(5, "cuda", 12_000.0) and not fits(5, "cuda", 12_000.0, workers=8)
    assert fits(2, "cuda", 12_000.0, workers=8) and fits(2, "cpu", 12_000.0, workers=8)
    assert not fits(10, "cuda", 12_000.0)


@pytest.mark.parametrize(("champion_first", "order"), [(True, [0, 1, 2]), (False, [1, 2, 0])])
def test_the_champion_is_first_or_last(
    tiny_source: str, champion_first: bool, order: list[int]
) -> None:
    seen: list[int] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            seen.append(event["training"])

    done = heat(
        [tiny_source] * 3, budget="2000tok", champion_first=champion_first, on_event=hear, **CPU
    )
    assert seen == order and [one.how for one in done] == ["in turn"] * 3


def test_with_too_little_memory_a_heat_of_time_is_in_turn(tiny_source: str) -> None:
    done = heat([tiny_source] * 2, budget="0.5s", peak_memory_mb=1e9, **CPU)
    assert [(one.status, one.how) for one in done] == [("ok", "in turn")] * 2


def test_a_champion_that_comes_last_is_not_trained_for_nobody(tiny_source: str) -> None:
    champion, candidate = heat(
        [tiny_source, tiny_source], budget="4s", peak_memory_mb=1e9, champion_first=False,
        watch=lambda *_: "enough", **CPU,
    )  # fmt: skip
    assert (candidate.status, candidate.reason) == ("abandoned", "enough")
    assert (champion.status, champion.reason) == ("abandoned", NO_CANDIDATE)
    assert champion.startup_seconds == 0 < candidate.startup_seconds


def test_nobody_is_lent_what_was_compiled_unless_everybody_is(
    prepared: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate's start-up is compared with the champion's: cold with cold, lent with lent."""
    champion = job(prepared, "cuda", Budget(seconds=9))
    jobs = {0: champion, 1: replace(champion, code=replace(champion.code, source="other"))}
    keys = [each.compile_key for each in jobs.values()]
    kept = {keys[0]}
    monkeypatch.setattr(MACHINE.compile_cache, "has", kept.__contains__)

    def lent() -> list[bool]:
        footing = on_one_footing(jobs).values()
        assert [each.champion for each in footing] == [keys[0]] * 2
        return [each.may_lend for each in footing]

    monkeypatch.setattr(MACHINE.compile_cache, "has_tried", kept.__contains__)
    assert lent() == [False, False]
    monkeypatch.setattr(MACHINE.compile_cache, "has_tried", keys.__contains__)
    assert lent() == [True, True], "what of the other was tried could not be kept"
    kept.clear()
    assert lent() == [False, False], "the champion has nothing"
    assert on_one_footing({0: champion})[0] == champion, "alone there is nobody to compare with"
    assert on_one_footing({1: jobs[1]})[1] == jobs[1]
