"""``python -m agent prepare``."""

import json
import random
from pathlib import Path

import pytest
from commands import Done, run_here

from trainer.data.sources import hub

pytestmark = pytest.mark.process  # seconds


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))


def prepare(cwd: Path, *arguments: str) -> Done:
    return run_here(cwd, "prepare", *arguments)


def test_own_files_are_made_ready_for_a_preset(tmp_path: Path) -> None:
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrst"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(200_000)]
    texts = [" ".join(words[i::99]) for i in range(99)]
    (tmp_path / "words.txt").write_text(
        "\n\n".join([texts[0], f"é {texts[1]}", *texts[2:]]), "latin-1"
    )
    done = prepare(tmp_path, "files:words.txt", "--preset", "laptop", "--json")
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    assert made["source"] == "files:words.txt"
    assert list(made["parts"]) == ["text"]
    assert made["train_bytes"] > 800_000 and made["val_bytes"] > 50_000
    assert made["vocab_size"] == 4096
    assert (Path(made["folder"]) / "v4096").is_dir()
    again = prepare(tmp_path, "files:words.txt", "--preset", "laptop")
    assert (
        "characters are no UTF-8 text" in again.stdout
        and "words.txt, line 3: byte 0xe9" in again.stdout
    )
    assert f"{made['train_bytes']:,} bytes to train on" in again.stdout


def test_offline_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "BACKOFF_SECONDS", 0.01)
    done = prepare(tmp_path, "tinystories")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "error: cannot download http://127.0.0.1:9/datasets/karpathy/tinystories"
    )
    assert "HF_ENDPOINT" in last
