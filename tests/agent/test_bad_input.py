"""Whatever is wrong: one clear line, an exit code that is not 0, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Done, measure_files, run_here
from events import Story
from project import ROOT, clone, git, run_there

pytestmark = pytest.mark.process


def refused(done: Done, *words: str) -> None:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--preset", "tpu"), ("tpu", "cpu")),
        (("--preset", "h100"), ("h100", "GPU", "--preset cpu")),
        (("--budget", "5x"), ("5x", "20s")),
        (("--workers", "500"), ("--workers 500", "at most")),
        (("--tag", "a..b"), ("a..b",)),
        (("--tag", "a/b"), ("a/b",)),
        (("--keep", "always"), ("always", "confirm")),
        (("--proposer", "oracle"), ("oracle", "hybrid")),
        (("--proposer", "llm", "--llm", "none"), ("model",)),
        (("--llm", "nonsense:x"), ("nonsense",)),
        (("--isolation", "maybe"), ("maybe", "require")),
        (("--data", "nowhere"), ("nowhere", "apidocs")),
        (("--program", "missing.md"), ("missing.md",)),
        (("--trials", "-1"), ("-1",)),
        (("--hours", "inf"), ("inf",)),
        (("--prior", "nope"), ("there is no campaign 'nope'",)),
    ],
)
def test_bad_options(project: Path, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    tag = () if "--tag" in args else ("--tag", "bad")
    refused(run_here(project, "run", *tag, "--trials", "0", *args), *words)


@pytest.mark.parametrize("args", [("--preset", "tpu"), ("--budget", "5x"), ("--file", "no.py")])
def test_bad_options_of_the_trainer(project: Path, args: tuple[str, ...]) -> None:
    refused(run_here(project, *args, main=measure_files), args[1])


def test_a_malformed_program_names_the_line(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    (folder / "program.md").write_text("---\nbudgett: 20s\n---\n# Program\n")
    refused(run_here(folder, "run", "--tag", "t"), "program.md", "2", "budget")


def test_a_program_without_a_heading(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    (folder / "program.md").write_text("just prose\n")
    refused(run_here(folder, "run", "--tag", "t"), "program.md", "Categories")


def test_a_campaign_cut_off_before_its_first_trial(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    begun = '{"n": 0, "time": 1.0, "event": "campaign", "tag": "t", "preset": "cpu", "seed": 0}\n'
    (folder / "campaigns/t").mkdir(parents=True)
    (folder / "campaigns/t/journal.jsonl").write_text(begun)
    done = run_here(folder, "status")
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr
    assert "not measured yet" in done.stdout
    refused(run_here(folder, "show", "0"), "no trial is finished yet")


def test_a_trial_that_is_not_there(tmp_path: Path) -> None:
    folder, story = clone(tmp_path), Story()
    story.baseline()
    (folder / "campaigns/t").mkdir(parents=True)
    lines = (json.dumps(event) + "\n" for event in story.events)
    (folder / "campaigns/t/journal.jsonl").write_text("".join(lines))
    refused(run_here(folder, "show", "7"), "campaign t has no trial 7; its last is 0")


def test_a_train_py_that_does_not_parse(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    (folder / "trainer/train.py").write_text("def train(:\n")
    git(folder, "commit", "-qam", "break it")
    refused(run_here(folder, "run", "--tag", "t", "--budget", "20000tok"), "train.py", "line 1")


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run_here(tmp_path, "run"), "git")
    refused(run_here(tmp_path, "status"), "git")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    refused(run_there(tmp_path, "run"), "git")


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    refused(run_here(tmp_path, "run"), "commit")


def test_no_campaign_yet(project: Path) -> None:
    for command in ("status", "log", "report", "stop"):
        refused(run_here(project, command, "--tag", "never"), "never")


def test_an_unwritable_cache(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", "/proc/nowhere")
    refused(run_here(project, "run", "--tag", "c"), "/proc/nowhere")
    refused(run_here(project, "prepare"), "/proc/nowhere")


def test_a_read_only_campaigns_folder(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    (folder / "campaigns").write_text("a file in the way\n")
    refused(run_here(folder, "run", "--tag", "t"), "campaigns")
