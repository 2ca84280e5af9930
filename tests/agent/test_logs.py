"""run.log: what a run did, without secrets, in files that do not grow without bound."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agent import logs
from agent.logs import logged
from trainer.errors import UserError

SECRET = "verysecret1"
log = logging.getLogger("agent.steps.somewhere")


def test_what_a_step_logs_is_in_the_campaigns_folder(tmp_path: Path) -> None:
    with logged(tmp_path, ()):
        log.info("heat %d begins", 1)
        logging.getLogger("urllib3.pool").info("chatter")
        logging.getLogger("urllib3.pool").warning("it retries")
    log.info("nobody listens any more")
    text = (tmp_path / "run.log").read_text()
    assert "INFO agent.steps.somewhere: heat 1 begins" in text
    assert "WARNING urllib3.pool: it retries" in text
    assert "chatter" not in text and "nobody listens" not in text


def test_it_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for word in ("first", "second"):
        with logged(tmp_path, ()):
            log.info("the %s run", word)
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2


def test_an_error_is_logged_with_its_traceback_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), logged(tmp_path, ()):
        1 / 0  # noqa: B018
    text = (tmp_path / "run.log").read_text()
    assert "ERROR" in text and "Traceback" in text and "ZeroDivisionError" in text


def test_of_an_error_that_the_user_can_mend_its_message_is_enough(tmp_path: Path) -> None:
    with pytest.raises(UserError), logged(tmp_path, ()):
        raise UserError("give --llm again")
    (line,) = (tmp_path / "run.log").read_text().splitlines()
    assert "ERROR" in line and line.endswith("give --llm again")


def test_no_secret_and_no_escape_code_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError), logged(tmp_path, (SECRET,), verbose=True):
        log.info("asked with %s and sk-abcdefgh12, \x1b[31mred", SECRET)
        raise RuntimeError(f"refused: {SECRET}")
    text = (tmp_path / "run.log").read_text()
    assert text == capsys.readouterr().err
    assert "[key]" in text and "red" in text
    assert SECRET not in text and "sk-" not in text and "\x1b" not in text


def test_no_text_passes_for_a_line_of_its_own(tmp_path: Path) -> None:
    with logged(tmp_path, ()):
        log.info("it says: %s", "x\n2026-01-01 00:00:00,000 ERROR agent: forged")
    first, second = (tmp_path / "run.log").read_text().splitlines()
    assert "it says: x" in first and second.startswith("    2026")


def test_old_lines_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BYTES", 1000)
    with logged(tmp_path, ()):
        for n in range(200):
            log.info("line %d", n)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["run.log", "run.log.1", "run.log.2", "run.log.3"]
    assert "line 199" in (tmp_path / "run.log").read_text()
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.log").symlink_to("/dev/full")
    with logged(tmp_path, ()):
        log.info("lost")
    assert capsys.readouterr().err == ""
