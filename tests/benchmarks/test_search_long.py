"""The long campaign of the search benchmark: its rivals and its figures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.steps.fresh import interval
from benchmarks.machine import ROOT
from benchmarks.search import long, points, verified
from benchmarks.search.arms import LUCK, RANDOM, TPE
from benchmarks.search.long import CAMPAIGN, Long, against, told_of
from benchmarks.search.points import ask, space_of

PLAIN = (ROOT / "examples" / "plain.py").read_text()


def test_rivals_of_the_long_campaign_have_its_device_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def heat(sources: list[str], **how: Any) -> list[Any]:
        trained.append(how["seed"])
        told = {"status": "ok", "reason": "", "fingerprint": {"threads": 2}}
        took = {"train_seconds": 9.0, "answer_seconds": 1.0, "score_seconds": 3.0}
        score = 2.0 - len(trained) / 100
        return [SimpleNamespace(val_bpb=score, seed=how["seed"], **told, **took)]

    monkeypatch.setattr(points.measure, "heat", heat)
    taken = Long.taken
    own = {"taken": lambda self, arm: 36.0 if arm == CAMPAIGN else taken(self, arm)}
    monkeypatch.setattr(Long, "taken", own["taken"])
    assert not Long(tmp_path, 35.0).sit(0.0)  # no minute: the point that is begun, and no more
    assert len(trained) == 1
    assert Long(tmp_path, 35.0).sit(60.0)
    assert trained == [1, 1, 1, 1]  # TPE's three, and luck's
    assert Long(tmp_path, 90.0).sit(60.0, [LUCK.name]) and trained[4:] == [2]  # seeds of its own
    found = Long(tmp_path, 35.0).points(TPE.name)
    assert found is not None
    told = told_of(found)
    assert (told["trials"], told["kept"]) == (2, 2)
    assert told["claimed"] == pytest.approx(0.02)
    assert taken(Long(tmp_path), TPE.name) == 36.0


def test_another_machine_goes_on_from_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long, "ARCHIVE", tmp_path / "work.tar.xz")
    here, there = tmp_path / "here", tmp_path / "there"
    folder = here / "repo" / "campaigns" / "search"
    (folder / "trials" / "1").mkdir(parents=True)
    (folder / "worktree").mkdir()
    (folder / "journal.jsonl").write_text("{}\n")
    (here / "TPE.jsonl").write_text("{}\n")
    long.pack(here)
    long.unpack(there)
    kept = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
    assert kept == {"TPE.jsonl", "repo/campaigns/search/journal.jsonl"}
    assert not (there / "repo" / "campaigns" / "search" / "trials").exists()
    (there / "TPE.jsonl").write_text("")
    long.unpack(there)
    assert (there / "TPE.jsonl").read_text() == "", "what is there is not written over"


def test_points_of_another_search_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the start, its ranges or Optuna have changed since."""

    def heat(sources: list[str], seed: int, **how: Any) -> list[Any]:
        told = {"status": "ok", "reason": "", "fingerprint": {"threads": 2}}
        took = {"train_seconds": 9.0, "answer_seconds": 1.0, "score_seconds": 3.0}
        return [SimpleNamespace(val_bpb=2.0, seed=seed, **told, **took)]

    monkeypatch.setattr(points.measure, "heat", heat)

    def search(start: str, arm: str, count: int, seed: int = 1) -> Any:
        space = space_of(start, "cpu", as_stated=False)
        return points.search(
            ask(arm, 1, space),
            start,
            tmp_path / "points.jsonl",
            "3s",
            lambda number: seed,
            lambda done: len(done) == count,
            SimpleNamespace(is_set=lambda: False),  # type: ignore[arg-type]
            print,
        )

    search(PLAIN, RANDOM.name, 3)
    assert len(search(PLAIN, RANDOM.name, 4).steps) == 4
    wider = PLAIN.replace("range 0.0001..0.1 log", "range 0.0001..0.2 log")
    assert wider != PLAIN
    for start, arm, seed in (
        (wider, RANDOM.name, 1),
        (PLAIN, LUCK.name, 1),
        (PLAIN, RANDOM.name, 2),
    ):
        with pytest.raises(SystemExit, match="another search"):
            search(start, arm, 4, seed)


def test_the_gain_over_tpe_is_within_a_heat() -> None:
    compared = [
        {"trial": name, **verified.gains_of([[0.0, -gain] for gain in gains], 1)}
        for name, gains in (("champion", (0.3, 0.5)), ("TPE", (0.2, 0.3)), ("shipped", (0.6, 0.7)))
    ]
    over = against(compared)["over_tpe"]
    expected = interval([0.1, 0.2])
    assert (over["mean"], over["low"]) == pytest.approx((expected.mean, expected.low))
    assert against(compared[:1]) == {}
