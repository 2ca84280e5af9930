"""Where it is measured after a run: as in the run, or as an option says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from project import clone_without_model

from agent.campaign import reading
from agent.campaign.state import State
from agent.commands import running
from agent.commands.running import _where
from agent.executors import choose
from agent.executors.local import Local
from agent.executors.workers import Share
from agent.git.repo import Repo
from agent.steps import start
from trainer.errors import UserError

LAST = {"workers": 4, "ray": "auto", "budget": "20s"}
CASES: list[tuple[dict[str, Any], dict[str, Any], tuple[int, str]]] = [
    (LAST, {}, (4, "auto")),
    (LAST, {"workers": 2}, (2, "")),
    (LAST, {"ray": "head:6379"}, (4, "head:6379")),
    (LAST, {"workers": 2, "ray": "head:6379"}, (2, "head:6379")),
    (LAST, {"ray": ""}, (4, "")),
    ({"budget": "20s"}, {}, (1, "")),  # of a clone, or an earlier version
]


def no_note(event: dict[str, Any]) -> None: ...


WANTED = {"workers": 4, "ray": "", "sequential": False}


@pytest.mark.parametrize(
    ("typed", "remembered", "end"),
    [
        ({"workers": 4}, {"workers": 4}, "it has one device"),
        ({"workers": None}, {"workers": 4}, "that is remembered from an earlier run"),
        ({}, {}, "that is what program.md says"),
    ],
)
def test_workers_that_nobody_has_typed_are_said_to_be_from_elsewhere(
    typed: dict[str, Any],
    remembered: dict[str, Any],
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.executors.workers.possible", lambda: (1, "it has one device"))
    with pytest.raises(UserError) as raised:
        choose.open_for_run(WANTED, typed, remembered, no_note)
    assert str(raised.value).removesuffix(": say otherwise with --workers N").endswith(end)


@pytest.mark.parametrize(("is_sequential", "told"), [(False, 0), (True, 1)])
def test_devices_that_stay_idle_are_told(
    is_sequential: bool, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "open_devices", lambda *how: SimpleNamespace(slots=4))
    said: list[Any] = []
    choose.open_for_run({**WANTED, "sequential": is_sequential}, {}, {}, said.append)
    words = "one of 4 devices is used: sequential does one trial after the other"
    assert [one["text"] for one in said] == [words] * told


@pytest.mark.parametrize(("last", "options", "expected"), CASES)
def test_it_is_where_the_last_run_measured_unless_an_option_says_otherwise(
    last: dict[str, Any],
    options: dict[str, Any],
    expected: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, str]] = []

    def open_devices(workers: int, ray: str, tell: Any) -> Local:
        asked.append((workers, ray))
        return Local()

    monkeypatch.setattr(choose, "open_devices", open_devices)
    choose.open_again(last, no_note, **options)
    assert asked == [expected]


def test_a_run_that_tries_a_file_leaves_to_program_md_what_nobody_has_said() -> None:
    state = State(settings=LAST)
    assert _where(state, None, None) == {"workers": None, "ray": "auto"}
    assert _where(state, 2, None) == {"workers": 2, "ray": ""}
    assert _where(State(), None, None) == {"workers": None, "ray": None}


def test_what_is_gone_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.executors.workers.possible", lambda: (1, "it has one device"))
    with pytest.raises(UserError) as raised:
        choose.open_again({"workers": 4}, no_note)
    assert str(raised.value) == (
        "--workers 4: this machine can have at most 1: it has one device; the campaign's last run "
        "measured there: say where else with --ray ADDRESS, or with --workers N on this machine"
    )
    with pytest.raises(UserError, match=r"one device$"):
        choose.open_again({}, no_note, workers=4)


@pytest.mark.process
def test_what_a_file_is_tried_with_does_not_hold_for_later_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clone_without_model(tmp_path)
    monkeypatch.chdir(folder)
    corpus = SimpleNamespace(source="apidocs", version="", val=SimpleNamespace(n_bytes=1))
    monkeypatch.setattr(start, "prepare_corpus", lambda *of: (corpus, ""))  # it takes seconds,
    monkeypatch.setattr(start.MACHINE, "probe", lambda: {"device": "cpu", "name": ""})  # as it does
    monkeypatch.setattr(choose, "shares", lambda count: [Share()] * count)
    own = tmp_path / "own.py"
    own.write_text((folder / "trainer/train.py").read_text() + "\n")
    monkeypatch.setattr(running, "run_campaign", lambda runtime, names: "tried")
    with pytest.raises(typer.Exit):
        running.try_file(own, tag="t", workers=2)
    state = reading.load(Repo.open(folder), "t")
    assert state.settings["workers"] == 2 and "workers" not in state.given
