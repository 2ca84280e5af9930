"""The user's own command is told what a person wants to know; it can stop nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from staged import audits, play

from agent import loop
from agent.settings import SettingsError, remember, resolve_settings
from agent.steps import notify
from agent.steps.notify import make_notifier
from agent.steps.runtime import Runtime

KEY = "sk-verysecret123"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """What the command was given: event, tag, message, standard input, a line each."""
    program = tmp_path / "tell"
    program.write_text(
        "#!/bin/sh\nread line\nfor said in "
        '"$AUTORESEARCH_EVENT" "$AUTORESEARCH_TAG" "$AUTORESEARCH_MESSAGE" "$line" "$1" "$OWN"\n'
        f'do echo "$said" >> "{tmp_path}/told"; done\n'
    )
    program.chmod(0o755)
    return tmp_path / "told"


def environ(told: Path) -> dict[str, str]:
    return {"PATH": f"{told.parent}:/usr/bin:/bin", "OWN": "mine"}


def test_it_gets_event_tag_and_message(told: Path) -> None:
    make_notifier("tell 'two words'", "nov22", environ(told), ())("champion", "better\nby ±1")
    message = "better by ±1"
    lines = ["champion", "nov22", message, message, "two words", "mine"]
    assert told.read_text().splitlines() == lines


def test_no_secret_is_in_the_message(told: Path) -> None:
    make_notifier("tell", "t", environ(told), ("hunter2hunter2",))(
        "needed", f"refused {KEY} and hunter2hunter2 \0 \ud800"
    )
    assert "verysecret" not in told.read_text() and "hunter2" not in told.read_text()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sh -c 'echo broken >&2; exit 3'", "exit status 3: broken"),
        ("sh -c 'kill -9 $$'", "exit status -9"),
        ("sleep 1000", "timed out"),
        ("sh -c 'sleep 1000 >/dev/null & exit 0'", ""),  # what it leaves is not waited for
        ("false", "exit status 1"),
    ],
)
def test_its_failure_is_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str, why: str
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_SECONDS", 1.0)
    with caplog.at_level(logging.WARNING):
        make_notifier(command, "t", {"PATH": "/usr/bin:/bin"}, ())("stopped", "done")
    assert [why in record.getMessage() for record in caplog.records] == ([True] if why else [])


def test_a_program_that_is_not_there_is_told_at_the_start() -> None:
    with pytest.raises(SettingsError, match="no program no-such-thing"):
        make_notifier("no-such-thing --now", "t", {"PATH": "/bin"}, ())


def test_without_a_command_nothing_is_run() -> None:
    make_notifier("", "t", {}, ())("stopped", "done")


def test_a_secret_in_the_command_is_not_kept_and_asked_for_again() -> None:
    kept = remember({"notify": f"curl -H {KEY} ntfy.sh"}, {}, ())
    assert "verysecret" not in json.dumps(kept)
    with pytest.raises(SettingsError, match="give --notify again"):
        resolve_settings({}, {}, {}, kept)
    assert resolve_settings({"notify": "true"}, {}, {}, kept).notify == "true"


def test_a_broken_program_is_told_once(runtime: Runtime, told: Path) -> None:
    runtime.notify = make_notifier("tell", "t", environ(told), ())
    path = runtime.program.path
    text = path.read_text()
    for content in ("---\nhours: soon\n---\n", "---\nhours: soon\n---\n", text, text):
        path.write_text(content)
        runtime.read_program()
    assert told.read_text().splitlines().count("needed") == 1


def test_a_new_champion_is_told_and_the_baseline_is_none(
    runtime: Runtime, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.settings = runtime.settings.model_copy(update={"keep": "greedy"})
    runtime.notify = make_notifier("tell", "t", environ(told), ())
    play(monkeypatch, 1.5, (1.5, 1.499), (1.4, 1.5))
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    assert not told.exists()
    loop.one_trial(runtime)
    loop.one_trial(runtime)
    event, _, message, *_ = told.read_text().splitlines()
    assert event == "champion" and message.startswith("trial 1, ") and "kept" in message
    assert told.read_text().count("champion\n") == 1
