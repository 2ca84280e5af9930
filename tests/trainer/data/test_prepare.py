"""The data side against the real source, in a cache of its own that the whole session shares."""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from preparing import TRAIN, decode, finish, start

from trainer.data.prepare import Corpus, DataError, cache_dir, prepare
from trainer.data.sources import apidocs
from trainer.data.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def small(both_outputs: tuple[Path, list[list[str]]]) -> tuple[Corpus, list[tuple[str, float]]]:
    """A second vocabulary on the same text, and the progress that was told."""
    said: list[tuple[str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_CACHE", str(both_outputs[0]))
        corpus = prepare(
            vocab_size=512,
            val_bytes=400_000,
            progress=lambda stage, fraction: said.append((stage, fraction)),
        )
    return corpus, said


def test_of_two_at_a_time_one_prepares(both_outputs: tuple[Path, list[list[str]]]) -> None:
    outputs = both_outputs[1]
    assert outputs[0][-1] == outputs[1][-1]
    assert sum("removing near-duplicates" in said for said in outputs) == 1
    assert sum("waiting for another preparation" in said for said in outputs) == 1


@pytest.mark.slow
def test_killed_twice_then_whole_and_the_same(
    small: tuple[Corpus, list[tuple[str, float]]], tmp_path: Path
) -> None:
    root = tmp_path / "apidocs" / apidocs.VERSION
    for stage, making in (
        ("removing near-duplicates", ".making-text"),
        ("encoding the training text", ".making-v512"),
    ):
        process = start(tmp_path, 512, 400_000)
        assert process.stdout is not None
        assert any(line.strip() == stage for line in process.stdout), "ended before the stage"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert (root / making).is_dir()
        assert not (root / making.removeprefix(".making-")).exists()

    said = finish(start(tmp_path, 512, 400_000))
    assert "removing near-duplicates" not in said  # the text was whole, and is used
    assert said[-1] == small[0].fingerprint
    assert sorted(path.name for path in root.iterdir()) == ["text", "v512", "v512-val400000"]


def test_prepared_is_not_touched_again(cache: Path) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*")}

    before = state()
    said: list[str] = []
    corpus = prepare(progress=lambda stage, fraction: said.append(stage))
    assert said == []
    assert state() == before
    assert corpus == prepare()
    assert [part.name for part in corpus.train] == sorted(TRAIN)
    assert {p.name for p in corpus.train if p.in_domain} == {"reference", "guides"}


def test_progress_of_each_stage_goes_up(small: tuple[Corpus, list[tuple[str, float]]]) -> None:
    stages = {stage: [f for s, f in small[1] if s == stage] for stage, _ in small[1]}
    assert list(stages) == [
        "training the tokenizer",
        "encoding the training text",
        "encoding the held-out text",
    ]
    assert [stage for stage, _ in small[1]] == [s for s, told in stages.items() for _ in told]
    for told in stages.values():
        assert told == sorted(told) and told[0] >= 0.0 and told[-1] <= 1.0
    assert len(stages["encoding the training text"]) > 20
    assert stages["encoding the training text"][-1] > 0.8


def test_damage_is_repaired(cache: Path) -> None:
    whole = prepare()
    os.truncate(whole.val.tokens, whole.val.n_tokens)
    assert prepare() == whole
    assert whole.val.tokens.stat().st_size == 2 * whole.val.n_tokens
    manifest = whole.val.tokens.parent / "manifest.json"
    manifest.write_text("[]")
    assert prepare() == whole


def test_fingerprint_pins_every_layer(cache: Path) -> None:
    corpus = prepare()
    folders = (cache / "apidocs" / apidocs.VERSION / n for n in ("text", "v4096"))
    below = ""
    for folder in (*folders, corpus.val.tokens.parent):
        raw = (folder / "manifest.json").read_bytes()
        manifest = json.loads(raw)
        assert manifest["below"] == below
        for name, file in manifest["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"]
        assert {path.name for path in folder.iterdir()} == {
            *manifest["files"],
            "manifest.json",
            "manifest.json.sha256",
        }
        assert str(cache) not in raw.decode()
        below = hashlib.sha256(raw).hexdigest()
    assert corpus.fingerprint == below
    assert prepare(val_bytes=149_000).fingerprint != below


@pytest.mark.parametrize("vocab_size", [4096, 512])
def test_bytes_add_up(
    small: tuple[Corpus, list[tuple[str, float]]], text: dict[str, list[str]], vocab_size: int
) -> None:
    corpus = small[0] if vocab_size == 512 else prepare()
    val_bytes = 400_000 if vocab_size == 512 else 150_000
    written = {"val": "".join(text["val"]).encode()[:val_bytes].decode(errors="ignore")}
    written |= {part.name: "".join(text[part.name]) for part in corpus.train}
    for part in (*corpus.train, corpus.val):
        tokens = np.fromfile(part.tokens, dtype="<u2")
        starts = np.fromfile(part.doc_starts, dtype="<i8")
        assert len(tokens) == part.n_tokens and len(starts) == part.n_docs
        assert np.array_equal(np.flatnonzero(tokens == vocab_size - 1), starts)
        assert int(tokens.max()) == vocab_size - 1
        assert part.n_bytes == len(written[part.name].encode())
        assert part.bytes_per_token == part.n_bytes / np.sum(tokens != vocab_size - 1)
        assert decode(corpus, tokens.tolist()) == written[part.name]
        assert part.name == "val" or part.n_docs == len(text[part.name])
    assert val_bytes - 4 < corpus.val.n_bytes <= val_bytes


def test_each_validation_document_survives_the_tokenizer(
    cache: Path, text: dict[str, list[str]]
) -> None:
    corpus = prepare(val_bytes=8_000_000)
    assert corpus.val.n_bytes == sum(len(d.encode()) for d in text["val"]) < 8_000_000
    tokens = np.fromfile(corpus.val.tokens, dtype="<u2")
    starts = np.fromfile(corpus.val.doc_starts, dtype="<i8")
    documents = [decode(corpus, ids) for ids in np.split(tokens, starts[1:])]
    assert documents == text["val"]


def test_validation_is_cut_at_a_character(cache: Path, text: dict[str, list[str]]) -> None:
    joined = "".join(text["val"])
    at = next(i for i, c in enumerate(joined) if len(c.encode()) == 3)
    whole = len(joined[:at].encode())
    assert prepare(val_bytes=whole + 2).val.n_bytes == whole
    assert prepare(val_bytes=whole + 3).val.n_bytes == whole + 3


def test_tokenizer_has_a_bos_that_text_cannot_write() -> None:
    texts = ["the cat and the hat <|bos|> the end", "naïve 🙂 1234567\r\n\t  the"]
    tokenizer = Tokenizer.trained(texts, 270)
    assert (tokenizer.vocab_size, tokenizer.bos) == (270, 269)
    assert Tokenizer.load(tokenizer.dump()).tokens == tokenizer.tokens
    for ids, original in zip(tokenizer.encode(texts), texts, strict=True):
        assert ids.dtype == np.uint16
        assert np.flatnonzero(ids == tokenizer.bos).tolist() == [0]
        assert tokenizer.decode(ids).decode() == original
    assert Tokenizer.trained(texts, 257).tokens == tuple(bytes([i]) for i in range(256))


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_bad_arguments_name_the_choices(cache: Path) -> None:
    with pytest.raises(DataError) as error:
        prepare("wikipedia")
    assert "apidocs" in one_line(error)
    with pytest.raises(DataError) as error:
        prepare(vocab_size=5000)
    assert "4096, 8192" in one_line(error)
    with pytest.raises(DataError, match="at least 1"):
        prepare(val_bytes=0)


def test_the_usual_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTORESEARCH_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert cache_dir() == tmp_path / ".cache" / "autoresearch"


def test_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(file / "cache"))
    with pytest.raises(DataError, match="AUTORESEARCH_CACHE") as error:
        prepare()
    assert str(file) in one_line(error)


def test_disk_that_takes_no_more(cache: Path) -> None:
    """A limit on file size stands for a full disk: both are an OSError in mid-write."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    process = start(cache, 4096, 123_456, before=limit)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert "DataError: cannot prepare data in" in last and "AUTORESEARCH_CACHE" in last
    root = cache / "apidocs" / apidocs.VERSION
    assert not list(root.glob("*val123456*")) and not list(root.glob(".making*"))
    assert prepare(val_bytes=123_456).val.n_bytes > 123_452


def test_prepared_data_needs_no_botocore(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [e for e in sys.path if not e.endswith("site-packages")])
    assert prepare().val.n_bytes > 149_996


def test_a_cache_of_another_python_is_used_where_botocore_is_missing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = prepare()
    other = apidocs.VERSION.replace(f"python-{platform.python_version()}", "python-3.99.1")
    shutil.copytree(cache / "apidocs" / apidocs.VERSION, tmp_path / "apidocs" / other)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", [e for e in sys.path if not e.endswith("site-packages")])
    there = prepare()
    assert (there.version, there.fingerprint) == (other, here.fingerprint)
    with pytest.raises(DataError, match="rustbpe"):
        monkeypatch.setitem(sys.modules, "rustbpe", None)
        prepare(vocab_size=1024)
    assert prepare(vocab_size=257, val_bytes=1000).version == other, "bytes need no training"


def test_imports_neither_torch_nor_botocore(cache: Path) -> None:
    code = (
        "import sys; from trainer.data.prepare import prepare; prepare(val_bytes=1000); "
        "print(sorted({'torch', 'botocore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shared_cache_needs_no_copy_of_the_text(cache: Path, tmp_path: Path) -> None:
    """A cache may be copied to another place: the fingerprint stays."""
    shutil.copytree(cache / "apidocs", tmp_path / "apidocs")
    here = prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
        there = prepare()
    assert there.fingerprint == here.fingerprint
    assert there.val.tokens.is_relative_to(tmp_path)
