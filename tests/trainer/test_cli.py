"""``python -m trainer``, in a process of its own where that matters: it takes seconds."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Done, measure_files, run_here

import trainer
from trainer.presets import find_preset

pytestmark = pytest.mark.process

ROOT = Path(trainer.__file__).parents[1]
FIELDS = """
    status reason val_bpb train_seconds startup_seconds score_seconds wall_seconds steps tokens
    params peak_memory_mb isolation seed weights_sha256
"""
EXAMPLE = ROOT / "examples" / "peek.py"


def run(*arguments: str | int | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=250,
        check=False,
    )


def here(*arguments: str | int | Path) -> Done:
    return run_here(ROOT, *map(str, arguments), main=measure_files)


@pytest.fixture
def tiny_file(tiny_source: str, tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text(tiny_source)
    return file


def test_json(tiny_file: Path) -> None:
    done = run(
        "--file", tiny_file, "--budget", "40000tok", "--preset", "cpu", "--seed", "3", "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert answer["status"] == "ok" and answer["seed"] == 3 and 1 < answer["val_bpb"] < 8
    assert set(answer) >= set(FIELDS.split())


def test_in_words(tiny_file: Path) -> None:
    done = here("--file", tiny_file, "--budget", "40000tok", "--preset", "cpu")
    assert done.returncode == 0, done.stderr
    assert "preset cpu, isolation" in done.stdout and "val_bpb " in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.slow
def test_a_corpus_that_cannot_be_had_is_replaced_and_named(tiny_file: Path) -> None:
    given = ("--file", tiny_file, "--budget", "4000tok", "--preset", "gpu")
    done = run(*given, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "cannot be had" in line)
    assert line.startswith("climbmix cannot be had, going on with apidocs: cannot download")
    (scored,) = re.findall(r"([\d,]+) bytes of apidocs\)", done.stdout)
    assert 1_000_000 < int(scored.replace(",", "")) < find_preset("gpu").val_bytes, "all it has"
    done = run(*given, "--data", "climbmix", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot download") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_two_files_are_a_heat(tiny_file: Path) -> None:
    files = ("--file", tiny_file, "--file", tiny_file)
    done = run(*files, "--budget", "1s", "--preset", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    first, second = (training["val_bpb"] for training in answer["trainings"])
    assert answer["differences"] == [first - second]
    done = run(*files, "--budget", "1s", "--preset", "cpu")
    assert done.returncode == 0 and "side by side" in done.stdout
    assert "bits per byte (positive is better)" in done.stdout


def test_a_heat_with_one_cheat_has_no_difference(tiny_file: Path) -> None:
    done = here(
        "--file", tiny_file, "--file", EXAMPLE, "--budget", "1s", "--preset", "cpu", "--json"
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["differences"] == [None]
    assert [training["status"] for training in answer["trainings"]] == ["ok", "invalid"]


def test_the_shipped_cheat_is_refused_by_name() -> None:
    done = here("--file", EXAMPLE, "--budget", "20000tok", "--preset", "cpu", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["status"] == "invalid" and answer["val_bpb"] is None
    assert answer["reason"].startswith("causality: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "5x"], "budget '5x'"),
        (["--preset", "tpu"], "no preset 'tpu'"),
        (["--isolation", "perhaps"], "isolation 'perhaps'"),
        (["--data", "moon"], "unknown data source 'moon'"),
        (["--seed", "-1"], "seed -1"),
        (["--file", "nowhere.py"], "cannot read nowhere.py: No such file"),
        (["--file", "/"], "cannot read /: Is a directory"),
        (["--file", "/dev/null"] * 9, "give 1 to 8 files"),
    ],
    ids=["budget", "preset", "isolation", "data", "seed", "no file", "folder", "many"],
)
def test_bad_input(arguments: list[str], message: str) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"\xff\xfe", 2, "cannot read"),
        (b"x = 1\0", 1, "null bytes"),
        (b"#" * 10_000_000, 1, "at most 60000 are allowed"),
        (b"x = " + b"-" * 50_000 + b"1", 1, "contract: train.py does not parse"),
        (b"", 1, "VOCAB_SIZE"),
    ],
    ids=["not utf-8", "nul", "10 MB", "deep", "empty"],
)
def test_bad_files(content: bytes, status: int, message: str, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_bytes(content)
    done = here("--file", file, "--preset", "cpu")
    assert done.returncode == status
    said = " ".join((done.stdout + done.stderr).split())
    assert message in said and "Traceback" not in said and len(said) < 600


def test_a_cache_that_cannot_be_written(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", "/proc/nowhere")
    done = here("--file", tiny_file, "--preset", "cpu")
    assert done.returncode == 2
    assert "AUTORESEARCH_CACHE" in done.stderr and "Traceback" not in done.stderr


def test_no_room_for_scratch(tiny_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys, tempfile, runpy; tempfile.tempdir = '/proc'; "
        f"sys.argv = ['trainer', '--file', {str(tiny_file)!r}, '--preset', 'cpu']; "
        "runpy.run_module('trainer', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "the training cannot be run" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_shipped_file_under_another_preset_says_whose_constants_it_has() -> None:
    done = here("--preset", "h100", "--budget", "1tok", "--data", "apidocs", "--isolation", "off")
    (line,) = (line for line in done.stdout.splitlines() if "constants" in line)
    assert line.startswith("train.py is trained with its own constants, of which the preset has ")
    assert "invalid: movement: the training changed nothing" in done.stdout
    assert done.returncode == 1
