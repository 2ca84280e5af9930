"""``status``, ``log``, ``show``, ``list`` and ``compare`` as typed: in a pipe and in a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import run_here
from events import Story, campaign
from screens import Screen
from sites import repository

from agent.campaign.events import read_event
from agent.campaign.journal import Journal
from agent.commands import looking
from agent.report.columns import plain
from agent.report.trials import log_lines

pytestmark = pytest.mark.process

TITLE = "\x1b[2J\x1b]0;owned\x07[red]a[/red] \u202etitle 学习率 " + 12 * "word "
DIFF = "diff --git a/t b/t\n--- a/t\n+++ b/t\n@@ -1 +1 @@\n-OLD = \x1b[31m1\n--- x\n+NEW = 2\n"
COMMANDS = ("status", "log", "log --graph", "show 1", "list", "compare night other")
SHOW_ALL = """
import sys
from agent import cli
for command in sys.argv[1:]:
    sys.argv = ["agent", *command.split()]
    try:
        cli.main()
    except SystemExit as ended:
        assert not ended.code, command
"""


def hostile() -> Story:
    story = Story(keep="strict")
    story.baseline()
    story.trial("schedule", TITLE, [(1.3, 1.2)], "keep", f"kept: {TITLE}", TITLE, gain=0.1)
    story.trial("optimizer", TITLE, [(None, None)], words=f"crashed ({TITLE}), reverted")
    return story


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = repository(tmp_path, night=campaign(), other=hostile())
    for tag in ("night", "other"):
        path = folder / f"campaigns/{tag}/trials/1/diff.patch"
        path.parent.mkdir(parents=True)
        path.write_text(DIFF)
    os.utime(folder / "campaigns/night/journal.jsonl", (1, 1))
    return folder


def test_in_a_pipe_there_are_no_codes_and_at_most_100_columns(folder: Path) -> None:
    for command in (*COMMANDS, "log --tag night"):
        done = run_here(folder, *command.split())
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout and "\x07" not in done.stdout
        if not command.startswith("show"):
            assert max(map(len, done.stdout.splitlines())) <= 100, command
    lines = run_here(folder, "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["campaign", "other", "night"]


@pytest.mark.parametrize("columns", [80, pytest.param(200, marks=pytest.mark.slow)])
def test_in_a_terminal_nothing_wraps_and_text_is_harmless(folder: Path, columns: int) -> None:
    screen = Screen(columns, 60)
    environ = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    command = [sys.executable, "-c", SHOW_ALL, *COMMANDS, "log --tag night"]
    with (folder / "said").open("w") as said:
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": screen.stream,
            "stderr": said,
        }
        environ |= {"TERM": "xterm-256color"}
        subprocess.run(command, cwd=folder, env=environ, check=True, **streams)
    last = plain(log_lines(campaign().state.finished, min(columns, 100)))
    screen.wait(lambda: last in screen.scrolled)
    raw = screen.raw.decode()
    screen.hang_up()
    assert "\x1b[32m+NEW = 2" in raw and "\x1b[31m--- x" in raw and "\x1b[1m--- a/t" in raw
    assert "\x1b[2J" not in raw and "\x1b]" not in raw and "\x07" not in raw and "\u202e" not in raw
    assert "[red]a[/red]" in raw


def test_no_color_is_heeded(folder: Path) -> None:
    screen = Screen(80, 60)
    command = [sys.executable, "-c", SHOW_ALL, "show 1", "status"]
    environ = os.environ | {"TERM": "xterm-256color", "NO_COLOR": "1"}
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=screen.stream)
    screen.wait_for("campaign  other")
    screen.hang_up()
    assert b"\x1b[3" not in screen.raw


def test_the_log_is_filtered_in_each_form(folder: Path) -> None:
    def rows(*how: str) -> list[int]:
        told = json.loads(run_here(folder, "log", "--tag", "night", "--json", *how).stdout)
        return [row["trial"] for row in told]

    assert rows() == [0, 1, 2, 3, 4, 5, 6]
    assert rows("--verdict", "keep") == [0, 1]
    assert rows("--category", "architecture", "--verdict", "revert") == [2, 6]
    text = run_here(folder, "log", "--tag", "night", "--csv", "--category", "optimizer").stdout
    assert [row["trial"] for row in csv.DictReader(io.StringIO(text))] == ["3"]
    graph = run_here(folder, "log", "--tag", "night", "--graph", "--verdict", "rejected").stdout
    assert [line[:3] for line in graph.splitlines()[:-2]] == ["├─·"]
    empty = run_here(
        folder, "log", "--tag", "night", "--category", "optimizer", "--verdict", "keep"
    )
    assert empty.stdout.startswith("no finished trial is of that kind")
    for wrong, said in (
        (("--category", "x"), "no category x; there are: architecture, baseline"),
        (("--csv", "--json"), "exclude each other"),
        (("--follow", "--json"), "exclude each other"),
    ):
        done = run_here(folder, "log", "--tag", "night", *wrong)
        assert done.returncode == 2 and said in done.stderr and done.stdout == ""
    assert run_here(folder, "log", "--verdict", "maybe").returncode == 2


@pytest.mark.parametrize("known", [-9, 3], ids=["in its midst", "before its first trial"])
def test_the_log_is_followed_until_nothing_writes_any_more(
    known: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = campaign()
    later = story.events[known:]
    del story.events[known:]
    folder = repository(tmp_path, t=story)
    told = run_here(folder, "log", "--follow", "--graph").stdout.splitlines()
    begun = len(told) - 2

    with Journal(folder / "campaigns/t/journal.jsonl") as journal:

        def sleep(_: float) -> None:
            journal.append(read_event(later.pop(0))) if later else journal.close()  # type: ignore[type-var]

        monkeypatch.setattr(looking, "time", SimpleNamespace(sleep=sleep))
        done = run_here(folder, "log", "--follow", "--graph")
    numbers = [line[3:].split()[0] for line in done.stdout.splitlines()[:-2]]
    assert later == [] and begun < 7
    assert "no trial is finished yet" not in done.stdout and "● kept" in done.stdout
    assert numbers == ["0", "1", "2", "3", "4", "5", "6"], "each once"


def test_a_damaged_campaign_hides_no_other(folder: Path) -> None:
    path = folder / "campaigns/night/journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"warm-down", b"warm-DOWN"))
    done = run_here(folder, "list")
    said = "".join(done.stdout.split())  # a long path is broken where a line ends
    assert done.returncode == 0 and "other" in said and "journal.jsonlline" in said
    found = json.loads(run_here(folder, "list", "--json").stdout)
    assert [one["tag"] for one in found if "error" in one] == ["night"]
    assert [one["tag"] for one in found if "error" not in one] == ["other"]


def test_a_run_that_makes_ready_for_its_first_trial_is_looked_at(tmp_path: Path) -> None:
    story = campaign()
    del story.events[2:]  # program.md is not read yet
    folder = repository(tmp_path, t=story)
    for command in ("status", "watch"):
        done = run_here(folder, command)
        assert done.returncode == 0 and "nothing is measured yet" in done.stdout, done.stderr
        assert json.loads(run_here(folder, command, "--json").stdout)["prior"] == {}
    assert "no trial is finished yet" in run_here(folder, "show", "0").stderr


def test_comparing_is_json_too(folder: Path) -> None:
    found = json.loads(run_here(folder, "compare", "night", "other", "--json").stdout)
    assert [one["tag"] for one in found["campaigns"]] == ["night", "other"]
    assert found["differ"]["keep"] == ["confirm", "strict"]
    done = run_here(folder, "compare", "night", "missing")
    assert done.returncode == 2 and "there is no campaign 'missing'" in done.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    done = run_here(tmp_path, "--version")
    assert done.returncode == 0 and done.stdout.startswith("autoresearch")


def test_a_shell_completes_commands_and_tags(folder: Path) -> None:
    """Of the console script; ``python -m agent`` offers no completion that could not work."""
    code = "import sys; sys.argv[0] = '/usr/bin/autoresearch'; from agent.cli import main; main()"

    def offered(words: str) -> list[str]:
        asked = {"_AUTORESEARCH_COMPLETE": "complete_bash", "COMP_WORDS": words}
        asked["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=os.environ | asked,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.split()

    assert {"compare", "clean"} <= set(offered("autoresearch c"))
    assert offered("autoresearch status --tag n") == ["night"]
    assert offered("autoresearch compare night o") == ["other"]
    assert "--install-completion" not in run_here(folder, "--help").stdout
