"""What every command prints arrives on any stream: of another encoding, closed, broken or full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_here
from events import campaign
from project import clone

pytestmark = pytest.mark.process

ASCII = {"PYTHONIOENCODING": "ascii"}
COMMANDS = ("status", "log", "log --graph", "show 1", "report", "report --markdown", "replay HEAD")
ENVIRONMENTS = {
    "strict": {"PYTHONIOENCODING": "ascii:strict"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
}
"""Whose encoding is ASCII."""
ENCODINGS = {"Western Windows": "cp1252", "console of old Windows": "cp437"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign whose titles and numbers have signs beyond ASCII, down to the folder's name."""
    folder = clone(tmp_path_factory.mktemp("project") / "Übung")
    story = campaign()
    story.rejected("optimizer", "the reply says “Größe → 2”, 後で")
    (folder / "campaigns/t").mkdir(parents=True)
    for event in story.events:
        if event["event"] == "program":
            event["text"] = "## Categories\n- **optimizer**: rules\n"
    lines = [json.dumps(event) + "\n" for event in story.events]
    (folder / "campaigns/t/journal.jsonl").write_text("".join(lines))
    return folder


def run(
    folder: Path, command: str, environ: dict[str, str], module: str = "agent", **how: object
) -> subprocess.CompletedProcess[bytes]:
    """``**how``: of ``subprocess.run``."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    line = [sys.executable, "-m", module, *command.split()]
    return subprocess.run(line, cwd=folder, env=os.environ | environ, **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_where_there_is_ascii_only(folder: Path, command: str) -> None:
    done = run_here(folder, *command.split(), encoding="ascii")
    said = done.stdout + done.stderr
    assert said.isascii()
    assert "Traceback" not in said and "UnicodeEncodeError" not in said
    if command == "replay HEAD":
        assert (done.returncode, said.count("\n")) == (2, 1)
        return
    assert done.returncode == 0, said
    if command in ("log", "show 1"):
        assert "0.0140 +- 0.0082" in said
    if command == "log --graph":
        assert "* kept  o reverted  x training failed" in said and "|-o" in said
    if command == "log":
        assert json.loads(run_here(folder, "log", "--json", encoding="ascii").stdout)


@pytest.mark.parametrize("environ", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_where_the_environment_asks_for_ascii(folder: Path, environ: dict[str, str]) -> None:
    done = run(folder, "log", environ)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode("ascii")
    assert "0.0140 +- 0.0082" in said and '"Gr' in said


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_of_every_encoding(folder: Path, encoding: str) -> None:
    done = run_here(folder, "log", encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert "0.0140 ± 0.0082" in done.stdout
    assert ("“Gr" if encoding == "cp1252" else '"Gr') in done.stdout


@pytest.mark.parametrize("module", ["agent", "trainer"])
def test_an_error_is_told_in_ascii(folder: Path, module: str) -> None:
    command = "show 99 --tag ü" if module == "agent" else "--file ü±.py"
    done = run(folder, command, ASCII, module)
    assert done.returncode == 2 and done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "module"),
    [("log", "agent"), ("show 1", "agent"), ("--help", "trainer")],
)
def test_a_reader_that_is_gone_ends_it_without_a_word(
    folder: Path, command: str, module: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(folder, command, {}, module, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_error_is_told_though_nobody_reads_the_rest(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(folder, "show 99", {}, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr[:7]) == (2, b"error: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("module", ["agent", "trainer"])
def test_a_full_disk_is_named(folder: Path, module: str, unbuffered: str) -> None:
    command, environ = "log" if module == "agent" else "--help", {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = run(folder, command, environ, module, stdout=full)
    assert done.returncode != 0
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ") and "No space left on device" in line
    assert "output cannot be written" in line or unbuffered


def test_a_closed_stdout_is_no_file_of_ours(folder: Path) -> None:
    journal = (folder / "campaigns/t/journal.jsonl").read_bytes()
    shell = f"{sys.executable} -m agent report 0>&- >&- && {sys.executable} -m agent log 2>&-"
    done = subprocess.run(["sh", "-c", shell], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "0.0140 ± 0.0082".encode() in done.stdout
    assert (folder / "campaigns/t/report.html").read_text().startswith("<!")
    assert (folder / "campaigns/t/journal.jsonl").read_bytes() == journal
