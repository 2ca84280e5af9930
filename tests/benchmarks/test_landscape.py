"""The landscape's parts, with heats that stand in for trainings."""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.edits.constants import constants
from benchmarks.landscape import Landscape, plan, record, table
from benchmarks.landscape import __main__ as command
from benchmarks.landscape.__main__ import MEASURED_NOW, summary
from benchmarks.landscape.plan import Planned
from trainer import measure
from trainer.data.prepare import DataError
from trainer.measure import Measurement

MACHINE = "a machine"


def measured(changes: dict[str, Any], seed: int) -> Measurement:
    values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(Measurement)}
    values |= {"status": "ok", "reason": "", "val_bpb": None, "params": 1000, "seed": seed}
    return Measurement(**{**values, **changes})


def edits(count: int, start: str = "plain") -> list[Planned]:
    """Edits of a start whose files differ in a comment, named by their worth."""
    return [
        Planned(
            f"{start}/deck/{n}", start, "deck", "optimizer", f"edit {n}",
            plan.base(start) + f"# {n}\n",
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture
def heats(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[int]]:
    """Edit n is better by n hundredths, and the third one crashes; returns the seeds as asked."""
    asked: list[Sequence[int]] = []

    def heat(sources: Sequence[str], *, seed: Sequence[int], **how: Any) -> list[Any]:
        assert how == {"budget": "3s", "preset": "cpu", "device": "cpu"}
        assert len(sources) == len(seed) <= measure.MOST_TRAININGS
        asked.append(seed)
        found = []
        for source, own in zip(sources, seed, strict=True):
            number = source.rpartition("# ")[2].strip()
            score: Any = 2.0 - 0.01 * int(number) if number.isdigit() else 2.0
            facts: dict[str, Any] = {"fingerprint": {"trainer": "t"}, "curve": ((0.5, 3, 2.12312),)}
            ended = (
                {"status": "crashed", "reason": "crash"} if number == "2" else {"val_bpb": score}
            )
            found.append(measured({**facts, **ended}, own))
        return found

    monkeypatch.setattr(measure, "heat", heat)
    return asked


def test_heats_are_recorded_read_and_drawn_from(heats: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "landscape.jsonl.gz"
    assert Landscape.load(file).edits == ()
    assert record.record(edits(8), MACHINE, file, rounds=3, say=lambda words: None) == 0
    found = Landscape.load(file)
    by_name = {edit.name: edit for edit in found.edits}
    assert len(by_name) == 8 and {len(edit.heats) for edit in found.edits} == {3}
    five, failed = by_name["plain/deck/5"], by_name["plain/deck/2"]
    assert five.mean == pytest.approx(0.05) and five.sd == pytest.approx(0.0, abs=1e-9)
    assert (five.category, five.kind, five.origin) == ("optimizer", "numbers", "deck")
    assert failed.mean is None and failed.differences == ()
    assert found.sample(failed, 1) == table.Sample(None, "crashed")
    assert found.sample(five, 3) == found.sample(five, 3) in five.heats
    (first, *_) = table.read_heats(file)
    assert first["base"]["curve"] == [[0.5, 3, 2.1231]]
    assert Counter(len(seed) for seed in heats) == {7: 3, 3: 3}
    assert len({seed[0] for seed in heats}) == 6, "each heat has a seed of its own"
    told = summary(found)
    assert told["statuses"] == {"ok": 21, "crashed": 3}
    best = told["starts"]["plain"]["categories"]["optimizer"]["best"]
    assert best == ["plain/deck/7", 0.07]


def test_a_recording_goes_on_where_it_was_stopped(heats: list[Any], tmp_path: Path) -> None:
    file, said = tmp_path / "landscape.jsonl.gz", list[str]()
    wanted = edits(8)
    groups = list(record.to_do(wanted, [], MACHINE, rounds=2))
    table.write_heats([record.train(groups[0], MACHINE)], file)
    record.record(wanted, MACHINE, file, rounds=2, say=said.append)
    assert len(heats) == len(groups) and said[0].startswith("8 edits, 3 heats to do: about ")
    assert {len(edit.heats) for edit in Landscape.load(file).edits} == {2}
    assert not list(record.to_do(wanted, table.read_heats(file), MACHINE, rounds=2))
    assert list(record.to_do(wanted, table.read_heats(file), "another", rounds=1))


@pytest.mark.parametrize("base_runs", [False, True])
def test_a_heat_that_says_nothing_is_left_to_the_next_call(
    heats: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_runs: bool
) -> None:
    file, whole = tmp_path / "landscape.jsonl.gz", measure.heat

    def fails(sources: Sequence[str], **how: Any) -> list[Any]:
        if base_runs:
            raise DataError("the disk is full")
        _, *rest = whole(sources, **how)
        slow = {"status": "overtime", "fingerprint": {"trainer": "t"}, "curve": ()}
        return [measured(slow, 0), *rest]

    monkeypatch.setattr(measure, "heat", fails)
    assert record.record(edits(2), MACHINE, file, rounds=1, say=lambda words: None) == 1
    assert not file.exists()
    monkeypatch.setattr(measure, "heat", whole)
    assert record.record(edits(2), MACHINE, file, rounds=1, say=lambda words: None) == 0
    assert len(Landscape.load(file).edits) == 2


def test_the_file_is_plain_lines_and_the_same_bytes_for_the_same_heats(tmp_path: Path) -> None:
    first, second = tmp_path / "a.gz", tmp_path / "b.gz"
    table.write_heats([{"n": 1}, {"n": 2}], first)
    table.write_heats([{"n": 1}, {"n": 2}], second)
    assert first.read_bytes() == second.read_bytes()
    lines = gzip.decompress(first.read_bytes()).splitlines()
    assert [json.loads(line) for line in lines] == [{"n": 1}, {"n": 2}]


def test_of_an_edit_whose_file_changed_only_the_last_counts(heats: list[Any]) -> None:
    (old,) = record.to_do(edits(1), [], MACHINE, rounds=1)
    new = dataclasses.replace(old.edits[0], source=old.edits[0].source + "# 4\n")
    rows = [record.train(old, MACHINE), record.train(record.Group("plain", 0, (new,)), MACHINE)]
    (edit,) = Landscape.of(rows).edits
    assert edit.differences == (pytest.approx(0.04),)
    assert list(record.to_do([new], rows[:1], MACHINE, rounds=1)), "it has to be measured anew"


@pytest.mark.process
def test_the_short_mode_tells_what_is_recorded_and_what_was_measured_now(
    heats: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, told = tmp_path / "landscape.jsonl.gz", list[Any]()
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["landscape", "--json", "--file", str(file)])
        with pytest.raises(SystemExit, match=r"^0$"):
            command.main()
        told.append(json.loads(capsys.readouterr().out))
        record.record(edits(1), MACHINE, file, rounds=1, say=lambda words: None)
    assert told[0]["recorded"] == "never run" and told[1]["recorded"]["edits"] == 1
    assert set(told[0]["measured_now"]["edits"]) == set(MEASURED_NOW)
    assert told[0]["measured_now"]["base"]["val_bpb"] == 2.0


@pytest.mark.process
def test_the_plan_has_each_kind_of_edit_of_a_start() -> None:
    start = "plain"
    drawn = plan.constants_of(start)
    singles = [*plan.deck(start), *drawn]
    pairs, nulls = plan.pairs(start, singles), plan.nulls(start)
    planned = [*(single.planned for single in singles), *pairs, *nulls]
    assert len({one.name for one in planned}) == len(planned)
    assert set(MEASURED_NOW) <= {one.name for one in planned}
    assert all(one.source != plan.base(start) for one in planned if not one.other_seed)
    known = {c.name: c.value for c in constants(plan.base(start))}
    for single in drawn:
        values = {c.name: c.value for c in constants(single.planned.source)}
        assert [name for name in known if known[name] != values[name]] == [single.what]
    assert len(pairs) == plan.PAIRS and len(nulls) == plan.NULLS
    names = {single.planned.name: single.planned for single in singles}
    for pair in pairs:
        one, two = (names[name] for name in pair.parts)
        assert pair.category == (one.category if one.category == two.category else "")
    assert 3 * sum(bool(pair.category) for pair in pairs) >= plan.PAIRS
    assert sum(one.other_seed for one in nulls) == plan.NULLS // 2
