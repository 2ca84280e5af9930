"""Where it is measured after a run: as in the run, or as an option says."""

from __future__ import annotations

from typing import Any

import pytest

from agent.campaign.state import State
from agent.commands.running import _where
from agent.executors import choose
from agent.executors.local import Local
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
