"""Preparing apidocs in a process of its own, which a test may kill."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from trainer.data.prepare import Corpus
from trainer.data.tokenizer import Tokenizer

TRAIN = ("reference", "guides", "python")
PREPARE = """
import sys
from trainer.data.prepare import prepare
said = []
def progress(stage, fraction):
    if stage not in said:
        said.append(stage)
        print(stage, flush=True)
corpus = prepare(vocab_size=int(sys.argv[1]), val_bytes=int(sys.argv[2]), progress=progress)
print(corpus.fingerprint)
"""


def start(cache: Path, vocab_size: int, val_bytes: int, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + PREPARE, str(vocab_size), str(val_bytes)],
        env={**os.environ, "AUTORESEARCH_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out.splitlines()


def decode(corpus: Corpus, ids: Iterable[int]) -> str:
    """The text of token ids."""
    tokenizer = Tokenizer.load((corpus.train[0].folder / "tokenizer.bpe").read_bytes())
    return tokenizer.decode(ids).decode()
