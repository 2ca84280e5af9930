"""Compiling works in a confined child; the next training of the same source is lent the result."""

import io
import os
import shutil
import socket
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.measure import MACHINE, check, measure
from trainer.presets import find_preset
from trainer.training import compile_cache, machine
from trainer.training.compile_cache import FOLDER, PACKED, CompileCache, pack, unpack

COMPILES = """
from torch._dynamo.utils import counters

def train(session, honest=train):
    double = torch.compile(lambda x: torch.sin(x) * 2)
    x = torch.ones(8)
    assert torch.allclose(double(x), torch.sin(x) * 2)
    print(sorted(name for name in counters["inductor"] if "fxgraph_cache" in name))
    return honest(session)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_a_confined_check_compiles_and_the_training_need_not(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = replace(find_preset("cpu"), compiles=True, startup_seconds=120.0)
    monkeypatch.setattr(machine, "find_preset", lambda *_: patient)
    MACHINE.close()
    source = tiny_source + COMPILES
    first = check(source, preset="cpu", device="cpu", seed=1)
    second = measure(source, budget="2000tok", preset="cpu", device="cpu", seed=2)
    assert (first.status, second.status) == ("ok", "ok"), first.reason + first.detail
    assert first.output == "['fxgraph_cache_miss']\n"
    assert second.output == "['fxgraph_cache_hit']\n"


def test_a_model_that_compiles_itself_is_scored_without(tiny_source: str) -> None:
    """The eval child may write nowhere; compiling there would fail."""
    compiles = """
def build_model(spec):
    model = Tiny(spec.vocab_size)
    model.forward = torch.compile(model.forward)
    return model

def train(session, honest=train):
    torch._dynamo.config.disable = True
    return honest(session)
"""
    measured = measure(tiny_source + compiles, budget="2000tok", preset="cpu", device="cpu")
    assert measured.status == "ok", measured.reason


@pytest.fixture
def cache():
    cache = CompileCache()
    yield cache
    cache.close()


def made(folder: Path, **files: str) -> Path:
    """A training's scratch folder, where it has compiled this and packed it."""
    (folder / FOLDER / "deep" / "er").mkdir(parents=True)
    for name, text in files.items():
        (folder / FOLDER / "deep" / "er" / name).write_text(text)
    pack(folder)
    return folder


def lent(cache: CompileCache, key: str, folder: Path) -> dict[str, str]:
    folder.mkdir()
    cache.lend(key, folder)
    unpack(folder)
    return {p.name: p.read_text() for p in (folder / FOLDER).rglob("*") if p.is_file()}


def test_what_was_taken_is_lent_to_the_same_key_only(cache, tmp_path) -> None:
    cache.take("a", made(tmp_path / "1", kernel="x", other="y"))
    assert lent(cache, "a", tmp_path / "2") == {"kernel": "x", "other": "y"}
    assert not (tmp_path / "2" / PACKED).exists()
    assert lent(cache, "b", tmp_path / "3") == {}


def test_a_later_training_changes_nothing(cache, tmp_path) -> None:
    """It has been lent what a training left, so it may hold what one has learnt."""
    cache.take("a", made(tmp_path / "1", kernel="x"))
    first = tmp_path / "2"
    lent(cache, "a", first)
    (first / FOLDER / "deep" / "er" / "kernel").write_text("learnt")
    pack(first)
    cache.take("a", first)
    assert lent(cache, "a", tmp_path / "3") == {"kernel": "x"}


def test_only_a_regular_file_is_taken(cache, tmp_path) -> None:
    made(tmp_path / "1", kernel="x")
    for name in ("link", "folder", "fifo", "socket"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / PACKED).symlink_to(tmp_path / "1" / PACKED)
    (tmp_path / "folder" / PACKED).mkdir()
    os.mkfifo(tmp_path / "fifo" / PACKED)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket" / PACKED))
    for name in ("link", "folder", "fifo", "socket"):
        cache.take(name, tmp_path / name)
        assert not cache.has(name)
    cache.take("a", tmp_path / "1")
    assert lent(cache, "a", tmp_path / "2") == {"kernel": "x"}


def test_a_link_in_an_archive_leads_nowhere(cache, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = made(tmp_path / "1", kernel="x")
    (folder / FOLDER / "link").symlink_to(tmp_path / "secret")
    pack(folder)
    cache.take("a", folder)
    assert lent(cache, "a", tmp_path / "2") == {}


def tar(compression: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        entry = tarfile.TarInfo("kernel")
        entry.size = 50_000
        archive.addfile(entry, io.BytesIO(os.urandom(50_000)))
    return file.getvalue()


def entry(**fields: object) -> bytes:
    header = tarfile.TarInfo("kernel")
    for name, value in fields.items():
        setattr(header, name, value)
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


LONG_NAME = {"type": tarfile.GNUTYPE_LONGNAME}
HARD_LINK = {"type": tarfile.LNKTYPE}


@pytest.mark.parametrize(
    "left",
    [
        b"no archive",
        b"x" * 100_000,
        tar("gz"),
        tar("gz")[:30_000],
        tar("xz")[:30_000],
        tar()[:30_000],
        entry(**HARD_LINK, linkname="nothing"),  # KeyError
        entry(mtime=1 << 70),  # OverflowError
        entry(**LONG_NAME, size=-5000),  # ValueError
        entry(**LONG_NAME, size=1 << 40),  # MemoryError
        entry(**LONG_NAME, size=1)[:1024] * 2000,  # RecursionError
    ],
)
def test_what_is_no_archive_is_compiled_again(cache, tmp_path, left: bytes) -> None:
    folder = made(tmp_path / "1", kernel="x")
    (folder / PACKED).write_bytes(left)
    cache.take("a", folder)
    assert cache.has("a") and lent(cache, "a", tmp_path / "2") == {}
    assert not (tmp_path / "2" / PACKED).exists()


def test_too_much_is_not_taken_at_all(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 5000)
    assert not cache.take("a", made(tmp_path / "1", kernel="x" * 10_000))
    assert lent(cache, "a", tmp_path / "2") == {}
    assert cache.has_tried("a") and not cache.has("a")
    assert "at most 5000 are allowed" in cache.refused["a"]


def test_what_grows_while_it_is_taken_is_cut(cache, tmp_path, monkeypatch) -> None:
    """The training still runs; here it has written more than a check of the size saw."""
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 5000)
    grown = tmp_path / PACKED
    grown.write_bytes(b"x" * 6000)
    monkeypatch.setattr(compile_cache, "open_file", lambda path, limit: path.open("rb"))
    cache.take("a", tmp_path)
    (tmp_path / "2").mkdir()
    cache.lend("a", tmp_path / "2")
    assert (tmp_path / "2" / PACKED).stat().st_size == 5000


def test_what_compiled_nothing_is_known_to_have_nothing(cache, tmp_path) -> None:
    """Or a champion beside it would have to compile again in every heat."""
    pack(tmp_path)
    assert cache.take("a", tmp_path) and cache.has("a")
    assert lent(cache, "a", tmp_path / "2") == {}


def test_the_user_is_told_that_a_training_compiles_anew(
    tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiles = replace(find_preset("cpu"), compiles=True)
    monkeypatch.setattr(machine, "find_preset", lambda *_: compiles)
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 5000)
    MACHINE.close()
    told: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "note":
            told.append(event["text"])

    cpu: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
    assert check(tiny_source, **cpu).ok
    assert measure(tiny_source, budget="2000tok", on_event=hear, **cpu).status == "ok"
    MACHINE.close()
    (text,) = told
    assert text.startswith("this training compiles anew, which may cost it training time: what it")
    assert "at most 5000 are allowed" in text


def test_the_last_few_are_kept_and_nothing_after_the_end(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(compile_cache, "_KEPT", 4)
    (tmp_path / "tmp").mkdir()
    cache.take("nothing packed", tmp_path)
    assert not list((tmp_path / "tmp").iterdir())
    for i in range(6):
        cache.take(str(i), made(tmp_path / f"from{i}", kernel=str(i)))
    assert lent(cache, "0", tmp_path / "to0") == {}
    assert lent(cache, "5", tmp_path / "to5") == {"kernel": "5"}
    assert [cache.has(str(i)) for i in range(6)] == [False, False, True, True, True, True]
    cache.close()
    assert not list((tmp_path / "tmp").iterdir())
