"""What stands in the cache is used only while it is intact, and test text only when opened."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from preparing import decode
from texts import documents

from trainer.data import prepare as data

TEXTS = documents(700)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    return f"files:{tmp_path / 'mine.jsonl'}"


def prepare(
    source: str, val_bytes: int = 20_000, split: Literal["val", "test"] = "val"
) -> data.Corpus:
    return data.prepare(source, vocab_size=512, val_bytes=val_bytes, split=split)


@pytest.mark.process
def test_a_flipped_byte_is_noticed_and_mended(source: str) -> None:
    whole = prepare(source)
    root = whole.val.tokens.parent.parent
    files = [f for n in ("v512-val20000", "v512", "text") for f in sorted((root / n).iterdir())]
    for i, file in enumerate(files):
        right = file.read_bytes()
        at = len(right) // 2
        file.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])
        if file.parent.name == "text":  # read only when something is made from it
            prepare(source, 19_000 + i)
        assert prepare(source) == whole, file
        assert file.read_bytes() == right, file


@pytest.mark.process
def test_a_new_process_checks_for_itself(source: str) -> None:
    whole = prepare(source)
    tokens = whole.val.tokens
    raw, kept = tokens.read_bytes(), tokens.stat()
    tokens.write_bytes(raw[::-1])
    os.utime(tokens, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    code = (
        "import sys; from trainer.data.prepare import prepare; "
        "prepare(sys.argv[1], vocab_size=512, val_bytes=20_000)"
    )
    subprocess.run([sys.executable, "-c", code, source], check=True)
    assert tokens.read_bytes() == raw


def test_test_split_is_sealed_until_it_is_opened(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = prepare(source)
    root = closed.val.tokens.parent.parent
    assert sorted(path.name for path in root.iterdir()) == ["text", "v512", "v512-val20000"]
    opened = prepare(source, split="test")
    assert opened.val.name == "test" and opened.train == closed.train
    assert opened.fingerprint != closed.fingerprint
    tokens = np.fromfile(opened.val.tokens, dtype="<u2")
    read = decode(opened, tokens.tolist())
    assert read == (root / "text" / "test.txt").read_text()[:20_000]
    assert opened.val.n_bytes == opened.val.n_bytes == len(read)
    assert prepare(source, split="test") == opened
    assert prepare(source) == closed

    groups, sizes = zip(*opened.documents, strict=True)
    assert set(groups) == {"mine.jsonl"} and sum(sizes) == opened.val.n_bytes
    assert closed.documents == ()
    shutil.rmtree(opened.val.folder)
    assert data.restore(opened) and not data.restore(opened)
    assert prepare(source, split="test") == opened
