"""The sealed test text: read when the trainings are over, by nothing that a candidate can reach.

Each document of a corpus of one's own has a sentence that no other has. The file in
``on_test_text`` is told one that is in the test text, and looks for it everywhere. It is also told
one of the training text, which it must find: else it would look in vain, and nobody would know.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from texts import documents

from trainer import presets
from trainer.data.prepare import Corpus, cache_dir, prepare
from trainer.measure import MACHINE, heat, measure
from trainer.presets import Budget
from trainer.sandbox import confine
from trainer.training import machine

LOOKS = Path(__file__).parent / "on_test_text" / "looks_for_the_test_text.py"
VAL_BYTES = 20_000
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu", "budget": "40000tok"}

pytestmark = [
    pytest.mark.process,
    pytest.mark.sandbox,
    pytest.mark.skipif(confine.available()[0] != "os", reason="nothing is sealed here"),
]


def sentence(number: int) -> str:
    return f"The word of number {number} is {hashlib.sha256(b'%d' % number).hexdigest()[:24]}."


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Corpus]:
    """Prepared, not opened; and time for a model to look around before it answers."""
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    small = replace(presets.find_preset("cpu"), val_bytes=VAL_BYTES, budget=Budget(seconds=600.0))
    monkeypatch.setattr(machine, "find_preset", lambda *_: small)
    (tmp_path / "mine").mkdir()
    for name, numbers in (("a", range(400)), ("b", range(400, 700))):
        texts = documents(len(numbers), numbers[0])
        pairs = zip(texts, numbers, strict=True)
        lines = [json.dumps({"text": f"{text}\n{sentence(n)}"}) for text, n in pairs]
        (tmp_path / "mine" / f"{name}.jsonl").write_text("\n".join(lines))
    yield prepare(f"files:{tmp_path / 'mine'}", vocab_size=257, val_bytes=VAL_BYTES)
    MACHINE.close()


def parts(corpus: Corpus) -> dict[str, str]:
    text = corpus.val.folder.parent / "text"
    return {path.stem: path.read_text() for path in text.glob("*.txt")}


def masked(text: str) -> str:
    return bytes((byte + 77) % 256 for byte in text.encode()).hex()


def filled(corpus: Corpus) -> str:
    """The file that looks, which is told what to look for, and where."""
    text = parts(corpus)
    known, sealed = (
        next(sentence(n) for n in range(700) if sentence(n) in within)
        for within in (text["text"], text["test"][: VAL_BYTES // 2])
    )
    root, mine = corpus.val.folder.parent, Path(corpus.source.removeprefix("files:"))
    tokens = root / f"v257-test{VAL_BYTES}" / "test.tokens"
    paths = [root / "text" / "test.txt", tokens, *mine.iterdir()]
    paths += [mine, tokens.parent, root, cache_dir(), Path.home(), Path.cwd()]
    places = {
        "known": masked(known),
        "sealed": masked(sealed),
        "name": masked(tokens.parent.name),
        "parent": str(os.getpid()),
        "paths": masked("\n".join(map(str, paths))),
    }
    looks = LOOKS.read_text()
    for name, value in places.items():
        looks = looks.replace(f"@{name}@", value)
    return looks


def test_no_training_and_no_model_finds_the_test_text(tiny_source: str, corpus: Corpus) -> None:
    opened_at: set[str] = set()

    def look(event: dict[str, Any]) -> None:
        if list(cache_dir().rglob("*-test*")):
            opened_at.add(event["event"])

    sources = [tiny_source + filled(corpus), tiny_source]
    measured = heat(sources, seed=[3, 4], split="test", data=corpus.source, on_event=look, **CPU)

    assert [(one.status, one.reason) for one in measured] == [("ok", "")] * 2
    for where in ("session with data", "memory with data", "descriptors with data"):
        assert f"known text in {where}" in measured[0].output, "it cannot see"
    assert {"scoring"} <= opened_at <= {"scoring", "preparing"}, "opened during a training"
    of_test = parts(corpus)["test"].encode()[:VAL_BYTES]
    for one in measured:
        groups, sizes, bits = zip(*one.documents, strict=True)
        assert set(groups) == {"a.jsonl", "b.jsonl"}
        assert sum(sizes) == one.val_bytes == len(of_test)
        assert min(bits) > 0
        assert one.val_bpb == pytest.approx(math.fsum(bits) / sum(sizes), rel=1e-12)
    first, second = ([of[:2] for of in one.documents] for one in measured)
    assert first == second
    assert measured[0].val_bpb != measured[1].val_bpb

    again = measure(tiny_source, data=corpus.source, **CPU)
    assert (again.status, again.documents) == ("ok", ())
    assert again.fingerprint["data"] == corpus.fingerprint != measured[0].fingerprint["data"]
    assert again.fingerprint["text"] == measured[0].fingerprint["text"]
    assert prepare(corpus.source, vocab_size=257, val_bytes=VAL_BYTES) == corpus


@pytest.mark.slow
def test_a_training_without_weights_opens_nothing(tiny_source: str, corpus: Corpus) -> None:
    crash = tiny_source + "\ndef train(session):\n    session.ready()\n    raise ValueError\n"

    crashed = measure(crash, split="test", data=corpus.source, **CPU)

    assert (crashed.status, crashed.documents) == ("crashed", ())
    assert not list(cache_dir().rglob("*-test*"))
    assert crashed.fingerprint["data"] == corpus.fingerprint


def test_each_document_is_told_with_its_own_bytes_and_file(corpus: Corpus) -> None:
    opened = prepare(corpus.source, vocab_size=257, val_bytes=VAL_BYTES, split="test")
    starts = np.fromfile(opened.val.doc_starts, dtype="<i8")
    tokens = np.fromfile(opened.val.tokens, dtype="<u2")
    for ids, (group, size) in zip(np.split(tokens, starts[1:]), opened.documents, strict=True):
        text = bytes(ids[1:].tolist()).decode()
        assert len(text.encode()) == size
        if "The word of number " in text:
            number = int(text.partition("The word of number ")[2].split()[0])
            assert group == ("a.jsonl" if number < 400 else "b.jsonl")
